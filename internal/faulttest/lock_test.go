package faulttest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func newLock(c *cachify.Client, opts *cachify.LockOptions) *cachify.Lock[int] {
	return cachify.Must(cachify.NewLock[int](c, "lock-{<n>}", opts))
}

func newSemaphore(c *cachify.Client, size int, opts *cachify.LockOptions) *cachify.Semaphore[int] {
	return cachify.Must(cachify.NewSemaphore[int](c, "sem-{<n>}", size, opts))
}

// acquired is what an acquisition in a goroutine gave, and when.
type acquired struct {
	lease *cachify.Lease
	err   error
	at    time.Time
}

func acquire(call func() (*cachify.Lease, error)) <-chan acquired {
	ch := make(chan acquired, 1)
	go func() {
		lease, err := call()
		ch <- acquired{lease, err, time.Now()}
	}()
	return ch
}

// awaitWaits waits until a client's callers have waited n times in all, and a little more for the last one to be in the queue.
func awaitWaits(t testing.TB, c *cachify.Client, n int64) {
	t.Helper()
	eventually(t, resumed, "all wait", func() bool { return c.Stats().LeaseWaits == n })
	time.Sleep(20 * time.Millisecond)
}

// TestLockRoundTrips counts them at the client, and the commands at the server.
func TestLockRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	counter := new(tripCounter)
	rdb.AddHook(counter)
	c := newClient(t, rdb)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	plain, fenced := newLock(c, nil), newLock(c, &cachify.LockOptions{Fenced: true})
	many := cachify.Must(cachify.NewLock[int](c, "{many}-<n>", &cachify.LockOptions{Fenced: true}))
	sem := newSemaphore(c, 2, nil)
	const n = 100
	var leases [n]*cachify.Lease
	keep := func(i int64, lease *cachify.Lease, err error) error { leases[i] = lease; return err }
	release := func(i int64) error { return leases[i].Release(ctx) }
	held := func(err error) error {
		if errors.Is(err, cachify.ErrLocked) {
			return nil
		}
		return fmt.Errorf("error %w, want ErrLocked", err)
	}
	var next <-chan acquired

	// What comes first once: the connection, the scripts, the subscription, with which leases are looked after.
	for _, call := range []func() (*cachify.Lease, error){
		func() (*cachify.Lease, error) { return fenced.Acquire(ctx, -1) },
		func() (*cachify.Lease, error) { return many.AcquireMany(ctx, []int{-1, -2}) },
		func() (*cachify.Lease, error) { return sem.Acquire(ctx, -1) },
	} {
		lease, err := call()
		noError(t, err)
		_, _ = lease.TTL(ctx)
		noError(t, lease.Extend(ctx, time.Minute))
		time.Sleep(50 * time.Millisecond)
		noError(t, lease.Release(ctx))
	}
	waits := c.Stats().LeaseWaits
	for _, test := range []struct {
		name  string
		calls int64
		call  func(i int64) error
		trips int64 // for each call
	}{
		{"TryAcquire", n, func(i int64) error { l, err := plain.TryAcquire(ctx, int(i)); return keep(i, l, err) }, 1},
		{"TryAcquire of what is locked", n, func(i int64) error { _, err := fenced.TryAcquire(ctx, int(i)); return held(err) }, 1},
		{"IsLocked", n, func(i int64) error { _, err := plain.IsLocked(ctx, int(i)); return err }, 1},
		{"Holder", n, func(i int64) error { _, _, err := plain.Holder(ctx, int(i)); return err }, 1},
		{"TTL", n, func(i int64) error { _, err := leases[i].TTL(ctx); return err }, 1},
		{"Extend", n, func(i int64) error { return leases[i].Extend(ctx, time.Minute) }, 1},
		{"Fence", n, func(i int64) error { _, err := leases[i].Fence(ctx); return err }, 1},
		{"Fence again", n, func(i int64) error { _, err := leases[i].Fence(ctx); return err }, 0},
		{"Release", n, release, 1},
		{"Acquire", n, func(i int64) error { l, err := plain.Acquire(ctx, int(i)); return keep(i, l, err) }, 1},
		{"Release", n, release, 1},
		{"TryAcquire, fenced", n, func(i int64) error { l, err := fenced.TryAcquire(ctx, int(i)); return keep(i, l, err) }, 1},
		{"Fence", n, func(i int64) error { _, err := leases[i].Fence(ctx); return err }, 0},
		{"Release, fenced", n, release, 1},
		{"TryAcquire of a slot", n, func(i int64) error { l, err := sem.TryAcquire(ctx, int(i)); return keep(i, l, err) }, 1},
		{"InUse", n, func(i int64) error { _, err := sem.InUse(ctx, int(i)); return err }, 1},
		{"Release of a slot", n, release, 1},
		{"AcquireMany, fenced", n / 4, func(i int64) error {
			l, err := many.AcquireMany(ctx, []int{int(4 * i), int(4*i + 1), int(4*i + 2)})
			return keep(i, l, err)
		}, 1},
		{"Release of many", n / 4, release, 1},
	} {
		server.ResetCalls()
		before := counter.trips.Load()
		for i := range test.calls {
			if err := test.call(i); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		trips := counter.trips.Load() - before
		t.Logf("%s: %d calls, %d round trips; commands: %s", test.name, test.calls, trips, list(server.Calls()))
		if trips != test.calls*test.trips {
			t.Errorf("%s: %d round trips for %d calls, want %d for each", test.name, trips, test.calls, test.trips)
		}
	}
	for i := range 4 { // a hand-over, with the waiter's fencing token
		lease, err := fenced.TryAcquire(ctx, 0)
		noError(t, err)
		next = acquire(func() (*cachify.Lease, error) { return fenced.Acquire(ctx, 0) })
		waits++
		awaitWaits(t, c, waits)
		server.ResetCalls()
		before := counter.trips.Load()
		noError(t, lease.Release(ctx))
		got := <-next
		noError(t, got.err)
		_, err = got.lease.Fence(ctx)
		noError(t, err)
		if trips := counter.trips.Load() - before; trips != 1 && i > 0 { // its script is new to the server at first
			t.Errorf("a hand-over took %d round trips: %s", trips, list(server.Calls()))
		}
		noError(t, got.lease.Release(ctx))
	}
}

// TestLockRaces has callers of three clients acquire, release and give up at random. No two hold the lock at a time, and two TTLs
// later there is nothing left of all that: no key, and, when the clients are closed, no goroutine.
func TestLockRaces(t *testing.T) {
	const clients, callers, races, ttl = 3, 10, 2000, 300 * time.Millisecond
	server := redistest.Start(t)
	operator := server.Client(t)
	noError(t, operator.Ping(t.Context()).Err())
	before := goleak.IgnoreCurrent()
	var holders, overlaps, holdings, gaveUp atomic.Int64
	var turns atomic.Int64
	var running sync.WaitGroup
	var closes []func() error
	race := func(rng *rand.Rand, acquire func(context.Context) (*cachify.Lease, error), limit int64, holders *atomic.Int64) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		if rng.IntN(3) > 0 {
			stop := time.AfterFunc(time.Duration(rng.IntN(4000))*time.Microsecond, cancel)
			defer stop.Stop()
		}
		lease, err := acquire(ctx)
		if err != nil {
			gaveUp.Add(1)
			return
		}
		holdings.Add(1)
		if holders.Add(1) > limit {
			overlaps.Add(1)
		}
		if rng.IntN(2) == 0 {
			time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
		} else {
			runtime.Gosched()
		}
		holders.Add(-1)
		_ = lease.Release(ctx)
	}
	var inSem atomic.Int64
	for n := range clients {
		rdb := server.Client(t)
		c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "fault:"})
		closes = append(closes, c.Close, rdb.Close)
		lock, sem := newLock(c, &cachify.LockOptions{TTL: ttl, Fenced: n == 0}), newSemaphore(c, 2, &cachify.LockOptions{TTL: ttl})
		for i := range callers {
			running.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(i)))
				for turns.Add(1) <= races {
					if i%4 == 3 {
						race(rng, func(ctx context.Context) (*cachify.Lease, error) { return sem.Acquire(ctx, 1) }, 2, &inSem)
					} else {
						race(rng, func(ctx context.Context) (*cachify.Lease, error) { return lock.Acquire(ctx, 1) }, 1, &holders)
					}
				}
			})
		}
	}
	running.Wait()
	server.ResetCalls()
	time.Sleep(2 * ttl)
	calls := list(server.Calls())
	for _, pattern := range []string{"fault:lock:*", "fault:sem:*"} {
		keys, err := operator.Keys(t.Context(), pattern).Result()
		noError(t, err)
		if len(keys) > 0 {
			t.Errorf("%q is left", keys)
		}
	}
	t.Logf("%d races, %d holdings, %d gave up; in the %v after: %s", races, holdings.Load(), gaveUp.Load(), 2*ttl, calls)
	if overlaps.Load() > 0 {
		t.Errorf("%d times two held the lock", overlaps.Load())
	}
	if holdings.Load() < races/20 || gaveUp.Load() < races/20 {
		t.Errorf("%d holdings, %d gave up: these are no races", holdings.Load(), gaveUp.Load())
	}
	for _, closeIt := range closes {
		noError(t, closeIt())
	}
	goleak.VerifyNone(t, before)
}
