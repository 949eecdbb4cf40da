package faulttest

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// leaving is how soon a caller that is cancelled must be back.
const leaving = 5 * time.Millisecond

// TestCancelledWaiters cancels callers who wait for locks, at all that they can be at, while the server works and while it is
// stopped with SIGSTOP. They are back at once, and leave no goroutine, no key and no place in the queue.
func TestCancelledWaiters(t *testing.T) { timely(t, cancelledWaiters) }

func cancelledWaiters(t *testing.T, w *stopwatch) {
	const waiters = 20
	server := redistest.Start(t)
	operator := server.Client(t)
	for _, key := range []string{"fault:lock:lock-{1}", "fault:lock:{many}-2", "fault:once:once"} {
		noError(t, operator.Set(t.Context(), key, "another's", 0).Err())
	}
	noError(t, operator.Do(t.Context(), "ZADD", "fault:sem:sem-{1}", "+inf", "another's").Err())
	ignore := goleak.IgnoreCurrent()
	rdb := server.Client(t)
	c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "fault:"})
	lock, sem, many := newLock(c, nil), newSemaphore(c, 1, nil), cachify.Must(cachify.NewLock[int](c, "{many}-<n>", nil))
	once := cachify.Must(cachify.NewOnce(c, "once", func(context.Context, struct{}) (bool, error) { return true, nil },
		&cachify.OnceOptions{Wait: time.Hour}))
	calls := []func(context.Context) error{
		func(ctx context.Context) error { return lock.Do(ctx, 1, func(context.Context) error { return nil }) },
		func(ctx context.Context) error { return sem.Do(ctx, 1, func(context.Context) error { return nil }) },
		func(ctx context.Context) error { _, err := once.Do(ctx, struct{}{}); return err },
		func(ctx context.Context) error {
			lease, err := many.AcquireMany(ctx, []int{1, 2, 3})
			if err == nil {
				err = lease.Release(ctx)
			}
			return err
		},
	}
	// cancelled has waiters of each kind, cancels each at another point of what it does, and says how soon they were back.
	cancelled := func(after func(i int)) *latencies {
		took := make(chan time.Duration, waiters*len(calls))
		together(waiters*len(calls), func(i int) {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan time.Time, 1)
			go func() {
				if err := calls[i%len(calls)](ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("call %d gave %v, want %v", i%len(calls), err, context.Canceled)
				}
				ended <- time.Now()
			}()
			after(i / len(calls))
			began := time.Now()
			cancel()
			took <- (<-ended).Sub(began)
		})
		close(took)
		all := new(latencies)
		for d := range took {
			all.add(d)
			w.check("a cancelled waiter", d, leaving, time.Duration(w.stall.Load()))
		}
		return all
	}
	working := cancelled(func(i int) { time.Sleep(time.Duration(i) * 70 * time.Millisecond) })
	time.AfterFunc(500*time.Millisecond, server.Stop)
	frozen := cancelled(func(i int) { time.Sleep(time.Second + time.Duration(i)*50*time.Millisecond) })
	server.Cont()

	noError(t, operator.Del(t.Context(), "fault:lock:lock-{1}", "fault:lock:{many}-2", "fault:once:once", "fault:sem:sem-{1}").Err())
	ctx, cancel := context.WithTimeout(t.Context(), resumed)
	defer cancel()
	began := time.Now()
	for _, call := range calls { // there is nobody in the queue before it
		noError(t, call(ctx))
	}
	turn := time.Since(began)
	eventually(t, resumed, "no key is left", func() bool {
		keys, err := operator.Keys(t.Context(), "fault:*").Result()
		return err == nil && len(keys) == 0
	})
	t.Logf("back after: %v; with the server stopped: %v; the next callers had their turns after %v", working, frozen, short(turn))
	noError(t, c.Close())
	noError(t, rdb.Close())
	goleak.VerifyNone(t, ignore)
}

// TestReleaseOnFrozenServer releases locks while the server is stopped: the calls come back with an error in time, and the
// background gives the locks back as soon as the server goes on, long before their TTL would.
func TestReleaseOnFrozenServer(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		server := redistest.Start(t)
		operator := server.Client(t)
		c := newClient(t, server.Client(t))
		lock, sem := newLock(c, nil), newSemaphore(c, 2, &cachify.LockOptions{TTL: cachify.NoExpiry})
		many := cachify.Must(cachify.NewLock[int](c, "{many}-<n>", nil))
		var leases []*cachify.Lease
		for _, acquire := range []func() (*cachify.Lease, error){
			func() (*cachify.Lease, error) { return lock.Acquire(t.Context(), 1) },
			func() (*cachify.Lease, error) { return sem.Acquire(t.Context(), 1) },
			func() (*cachify.Lease, error) { return sem.Acquire(t.Context(), 1) },
			func() (*cachify.Lease, error) { return many.AcquireMany(t.Context(), []int{1, 2}) },
		} {
			lease, err := acquire()
			noError(t, err)
			leases = append(leases, lease)
		}
		server.Stop()
		took := w.time("Release", opTimeout, func() {
			together(len(leases), func(i int) {
				if err := leases[i].Release(t.Context()); err == nil || errors.Is(err, cachify.ErrLockLost) {
					t.Errorf("Release gave %v, want the server's error", err)
				}
				if err := leases[i].Context().Err(); err == nil {
					t.Error("the lease's context goes on")
				}
			})
		})
		server.Cont()
		free := eventually(t, resumed, "no lock is left", func() bool {
			keys, err := operator.Keys(t.Context(), "fault:*").Result()
			return err == nil && len(keys) == 0
		})
		t.Logf("Release came back after %v, the locks were free %v after the server went on", took, free)
	})
}
