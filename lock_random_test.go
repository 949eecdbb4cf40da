package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// Callers of several clients acquire, hold, release and give up at random, over a store that answers late, not at all, or with an
// error, before or after having done what it was asked for. At no time do two believe that they hold the lock, and when
// all have gone nothing is left. Time is fake, so hours of it pass in a second.
func TestRandomFaultsAndCancellations(t *testing.T) {
	const seeds = 40
	kinds := map[string]func(*cachify.Client, *cachify.LockOptions) acquirer{
		"lock":      func(c *cachify.Client, o *cachify.LockOptions) acquirer { return newLock(c, o) },
		"semaphore": func(c *cachify.Client, o *cachify.LockOptions) acquirer { return newSemaphore(c, 2, o) },
	}
	for name, kind := range kinds {
		limit := map[string]int{"lock": 1, "semaphore": 2}[name]
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprintf("%s %d", name, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { random(t, kind, limit, seed) })
			})
		}
	}
}

type acquirer interface {
	Acquire(ctx context.Context, args int) (*cachify.Lease, error)
	TryAcquire(ctx context.Context, args int) (*cachify.Lease, error)
	Key(args int) (string, error)
}

func random(t *testing.T, kind func(*cachify.Client, *cachify.LockOptions) acquirer, limit int, seed uint64) {
	const clients, callers, turns = 3, 4, 12
	rng := rand.New(rand.NewPCG(seed, 1))
	opts := cachify.LockOptions{TTL: lockTTL, NoRenew: rng.IntN(4) == 0}
	if rng.IntN(3) == 0 {
		opts = cachify.LockOptions{TTL: cachify.NoExpiry}
	}
	if rng.IntN(2) == 0 {
		opts.Wait = time.Duration(rng.Int64N(int64(lockTTL)))
	}
	rough := 2 + rng.IntN(30) // one call in so many goes wrong
	memory := cachify.Memory()
	h := &heldBy{limit: limit}
	var stores []*faultyStore
	var running sync.WaitGroup
	key := ""
	for c := range clients {
		store := &faultyStore{Store: memory}
		store.set(roughly(rough))
		stores = append(stores, store)
		client := newClient(t, store, &cachify.Options{OpTimeout: lockTTL / 10})
		lock := kind(client, &opts)
		key = cachify.Must(lock.Key(1))
		for n := range callers {
			running.Go(func() {
				rng := rand.New(rand.NewPCG(seed, uint64(100+10*c+n)))
				for range turns {
					turn(t, rng, lock, h)
				}
			})
		}
	}
	running.Wait()
	for _, store := range stores {
		store.set(nil)
	}
	time.Sleep(5 * time.Second) // for what the background has yet to undo
	if opts.TTL != cachify.NoExpiry {
		time.Sleep(lockTTL)
	}
	tokens, left, err := memory.Holders(t.Context(), key, limit > 1)
	noError(t, err)
	if len(tokens) > 0 {
		t.Errorf("%d holders are left, for %v more", len(tokens), left)
	}
	if h.holdings == 0 {
		t.Error("nobody ever held the lock")
	}
}

// roughly has one call in n go wrong, in one way or another. All of them take some time.
func roughly(n int) fault {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(uint64(n), 2))
	draw := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return rng.IntN(n)
	}
	return func(ctx context.Context, op string, do func() error) error {
		time.Sleep(time.Duration(draw(1000)) * time.Microsecond)
		if draw(n) > 0 {
			return do()
		}
		late := func() { time.Sleep(time.Duration(draw(int(lockTTL/5/time.Millisecond))) * time.Millisecond) }
		switch draw(5) {
		case 0:
			return errDown
		case 1:
			late()
			return do() // an error if ctx is over by then
		case 2:
			err := do()
			late()
			return err
		case 3:
			_ = do()
			late()
			return errDown
		default:
			<-ctx.Done()
			return ctx.Err()
		}
	}
}

// heldBy counts who believes to hold a lock.
type heldBy struct {
	mu       sync.Mutex
	limit    int
	leases   []*cachify.Lease
	holdings int
}

// add says how many hold it, with l.
func (h *heldBy) add(l *cachify.Lease) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holdings++
	h.leases = append(h.leases, l)
	for _, l := range h.leases {
		if l.Context().Err() == nil {
			n++
		}
	}
	return n
}

func turn(t *testing.T, rng *rand.Rand, lock acquirer, h *heldBy) {
	ms := func(n int) time.Duration { return time.Duration(rng.IntN(n)) * time.Millisecond }
	// The ctx of a lease is that of its acquisition: so it is cancelled while the lease is waited for, never later.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer time.AfterFunc(time.Hour, func() { t.Error("an hour has passed"); cancel() }).Stop()
	var acquired bool
	var mu sync.Mutex
	if rng.IntN(2) == 0 {
		time.AfterFunc(ms(400), func() {
			mu.Lock()
			defer mu.Unlock()
			if !acquired {
				cancel()
			}
		})
	}
	call := lock.Acquire
	if rng.IntN(4) == 0 {
		call = lock.TryAcquire
	}
	lease, err := call(ctx, 1)
	mu.Lock()
	acquired = true
	mu.Unlock()
	if err != nil {
		time.Sleep(ms(20))
		return
	}
	if n := h.add(lease); n > h.limit {
		t.Errorf("%d hold what %d may", n, h.limit)
	}
	hold := ms(10)
	if rng.IntN(8) == 0 {
		hold = ms(int(2 * lockTTL / time.Millisecond))
	}
	select {
	case <-time.After(hold):
	case <-lease.Context().Done():
	}
	if !lease.Valid() && !soon(func() bool { return lease.Context().Err() != nil }) {
		t.Error("the lease is not valid, and its context has not ended")
	}
	if err := lease.Release(ctx); errors.Is(err, cachify.ErrLocked) {
		t.Errorf("Release: %v", err)
	}
}

// soon says whether a condition holds, or will as soon as the goroutines have run that are due at this moment.
func soon(condition func() bool) bool {
	if !condition() {
		time.Sleep(time.Nanosecond)
	}
	return condition()
}
