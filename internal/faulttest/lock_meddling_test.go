package faulttest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestLockMeddling deletes scripts, connections and keys behind the back of two clients whose callers take turns with locks. Where no
// lock is lost by it, nobody sees an error and no two hold the lock at a time; and the callers go on having their turns.
func TestLockMeddling(t *testing.T) {
	for _, test := range []struct {
		name    string
		command []any
		errors  bool          // callers may see some
		loses   bool          // locks are lost
		longest time.Duration // wait
	}{
		{"SCRIPT FLUSH", []any{"SCRIPT", "FLUSH"}, false, false, time.Second},
		{"CLIENT KILL TYPE pubsub", []any{"CLIENT", "KILL", "TYPE", "pubsub"}, false, false, 1100 * time.Millisecond},
		{"CLIENT KILL TYPE normal", []any{"CLIENT", "KILL", "TYPE", "normal"}, true, false, 3 * time.Second},
		{"FLUSHALL", []any{"FLUSHALL"}, false, true, 1100 * time.Millisecond},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				operator := server.Client(t)
				turns := startTurns(t, server)
				time.Sleep(100 * time.Millisecond)
				for range 25 {
					noError(t, operator.Do(t.Context(), test.command...).Err())
					time.Sleep(20 * time.Millisecond)
				}
				before := turns.had.Load()
				eventually(t, resumed, "more turns", func() bool { return turns.had.Load() > before+50 })
				turns.finish()
				w.check("a wait", turns.longest, test.longest, time.Duration(w.stall.Load()))
				t.Logf("%s 25 times: %d turns, %d lost, %d errors; longest wait %v", test.name, turns.had.Load(), turns.lost, len(turns.errs), short(turns.longest))
				if len(turns.errs) > 0 && !test.errors {
					t.Errorf("%d errors, such as %v", len(turns.errs), turns.errs[0])
				}
				if !test.loses && (turns.overlaps > 0 || turns.lost > 0) {
					t.Errorf("%d overlaps, %d leases lost", turns.overlaps, turns.lost)
				}
				if turns.unfenced > 0 {
					t.Errorf("%d holders had a fencing token that was not greater than all before", turns.unfenced)
				}
			})
		})
	}
}

// turns are those of callers of two clients who want the lock again and again.
type turns struct {
	had     atomic.Int64
	holders atomic.Int64
	stop    context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex
	longest  time.Duration // wait
	last     int64         // fencing token
	lost     int
	overlaps int
	unfenced int
	errs     []error
}

func startTurns(t *testing.T, server *redistest.Server) *turns {
	ctx, stop := context.WithCancel(t.Context())
	tr := &turns{stop: stop}
	for range 2 {
		lock := newLock(newClient(t, server.Client(t)), &cachify.LockOptions{TTL: time.Second, Fenced: true})
		for range 5 {
			tr.running.Go(func() {
				for ctx.Err() == nil {
					tr.turn(ctx, lock)
				}
			})
		}
	}
	t.Cleanup(tr.finish)
	return tr
}

func (tr *turns) turn(ctx context.Context, lock *cachify.Lock[int]) {
	began := time.Now()
	lease, err := lock.Acquire(ctx, 1)
	waited := time.Since(began)
	if err != nil {
		if ctx.Err() == nil {
			tr.note(func() { tr.errs = append(tr.errs, err) })
		}
		return
	}
	fence, err := lease.Fence(ctx)
	overlap := tr.holders.Add(1) > 1
	time.Sleep(time.Millisecond)
	tr.holders.Add(-1)
	releaseErr := lease.Release(ctx)
	tr.had.Add(1)
	tr.note(func() {
		tr.longest = max(tr.longest, waited)
		switch {
		case errors.Is(releaseErr, cachify.ErrLockLost):
			tr.lost++
		case err != nil || releaseErr != nil:
			tr.errs = append(tr.errs, errors.Join(err, releaseErr))
		default:
			if overlap {
				tr.overlaps++
			}
			if fence <= tr.last {
				tr.unfenced++
			}
			tr.last = fence
		}
	})
}

func (tr *turns) note(f func()) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	f()
}

func (tr *turns) finish() {
	tr.stop()
	tr.running.Wait()
}

// TestFlushedLock has FLUSHALL take a lock from its holder, who learns of it at its next renewal, or when it asks; the next
// holder's fencing token is greater all the same.
func TestFlushedLock(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		const ttl = 600 * time.Millisecond
		server := redistest.Start(t)
		lock := newLock(newClient(t, server.Client(t)), &cachify.LockOptions{TTL: ttl})
		var last int64
		for i := range 3 {
			lease, err := lock.TryAcquire(t.Context(), 1)
			noError(t, err)
			fence, err := lease.Fence(t.Context())
			noError(t, err)
			if fence <= last {
				t.Errorf("fencing token %d after %d", fence, last)
			}
			last = fence
			server.Flush()
			if i == 2 {
				server.Restart()
			}
			w.time("until the loss is known", ttl/3, func() { <-lease.Context().Done() })
			if cause := context.Cause(lease.Context()); !errors.Is(cause, cachify.ErrLockLost) {
				t.Errorf("the lease ended with %v, want %v", cause, cachify.ErrLockLost)
			}
			if _, err := lease.Fence(t.Context()); !errors.Is(err, cachify.ErrLockLost) {
				t.Errorf("Fence of a lost lease gave %v, want %v", err, cachify.ErrLockLost)
			}
		}
	})
}

// TestKilledSubscription has a lock released when the waiter's subscription has just been killed, on all phases of what follows.
func TestKilledSubscription(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		server := redistest.Start(t)
		operator := server.Client(t)
		c := newClient(t, server.Client(t))
		mine, theirs := newLock(c, nil), newLock(newClient(t, server.Client(t)), nil)
		var all latencies
		for i := range 8 {
			lease, err := theirs.TryAcquire(t.Context(), i)
			noError(t, err)
			waits := acquire(func() (*cachify.Lease, error) { return mine.Acquire(t.Context(), i) })
			awaitWaits(t, c, int64(i+1))
			noError(t, operator.Do(t.Context(), "CLIENT", "KILL", "TYPE", "pubsub").Err())
			time.Sleep(time.Duration(i) * 5 * time.Millisecond)
			released := time.Now()
			noError(t, lease.Release(t.Context()))
			got := <-waits
			noError(t, got.err)
			all.add(got.at.Sub(released))
			w.check("a hand-over", got.at.Sub(released), time.Second, time.Duration(w.stall.Load()))
			noError(t, got.lease.Release(t.Context()))
		}
		t.Logf("with the subscription killed just before, hand-overs took %v", &all)
	})
}

// TestNoReleaseIsMissed has locks released at the moment that somebody comes to wait for them: between its attempt and its
// subscription to a key that it has never waited for before.
func TestNoReleaseIsMissed(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		const locks = 300
		server := redistest.Start(t)
		mine, theirs := newLock(newClient(t, server.Client(t)), nil), newLock(newClient(t, server.Client(t)), nil)
		var all latencies
		for i := range locks {
			lease, err := theirs.TryAcquire(t.Context(), i)
			noError(t, err)
			waits := acquire(func() (*cachify.Lease, error) { return mine.Acquire(t.Context(), i) })
			time.Sleep(time.Duration(i%30) * 50 * time.Microsecond)
			released := time.Now()
			noError(t, lease.Release(t.Context()))
			got := <-waits
			noError(t, got.err)
			all.add(got.at.Sub(released))
			noError(t, got.lease.Release(t.Context()))
		}
		t.Logf("hand-overs took %v", &all)
		w.check("a hand-over", all.max(), 50*time.Millisecond, time.Duration(w.stall.Load()))
	})
}

// TestDeadHolder has holders die: their locks end with their TTL, and who waits notices a little later.
func TestDeadHolder(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		server := redistest.Start(t)
		store := cachify.Redis(server.Client(t))
		c := newClient(t, server.Client(t))
		lock, sem := newLock(c, nil), newSemaphore(c, 1, nil)
		together(4, func(i int) {
			ttl := time.Duration(i+1) * 300 * time.Millisecond
			key, slots, wait := cachify.Must(lock.Key(i)), 0, lock.Acquire
			if i%2 == 1 {
				key, slots, wait = cachify.Must(sem.Key(i)), 1, sem.Acquire
			}
			began := time.Now()
			_, ok, err := store.Lock(t.Context(), cachify.Claim{Keys: []string{key}, Token: "died", TTL: ttl, Slots: slots}, "")
			noError(t, err)
			if !ok {
				t.Error("not taken")
			}
			lease, err := wait(t.Context(), i)
			noError(t, err)
			took := time.Since(began)
			if took < ttl-time.Millisecond {
				t.Errorf("%s was taken %v after a holder with a TTL of %v", key, took, ttl)
			}
			// The first look is within a second, the next one when the TTL has ended.
			w.check("the wait for "+fmt.Sprint(ttl), took, max(ttl*110/100, time.Second), time.Duration(w.stall.Load()))
			noError(t, lease.Release(t.Context()))
		})
	})
}
