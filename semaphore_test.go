package cachify_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func newSemaphore(c *cachify.Client, size int, opts *cachify.LockOptions) *cachify.Semaphore[int] {
	return cachify.Must(cachify.NewSemaphore[int](c, "pool-<n>", size, opts))
}

// enter takes a slot for the key that these tests share.
func enter(ctx context.Context, s *cachify.Semaphore[int]) <-chan result[*cachify.Lease] {
	return async(func() (*cachify.Lease, error) { return s.Acquire(ctx, 1) })
}

func inUse(t testing.TB, s *cachify.Semaphore[int], want int) {
	t.Helper()
	n, err := s.InUse(context.WithoutCancel(t.Context()), 1)
	noError(t, err)
	equal(t, "slots in use", n, want)
}

func TestNewSemaphoreErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	for _, size := range []int{0, -1, -1 << 62} {
		sem, err := cachify.NewSemaphore[int](c, "f-<n>", size, nil)
		wantMessage(t, err, "size")
		if sem != nil {
			t.Error("a semaphore came with the error")
		}
	}
	_, err := cachify.NewSemaphore[int](nil, "f-<n>", 1, nil)
	wantMessage(t, err, "the client is nil")
	_, err = cachify.NewSemaphore[int](c, "f-<n>", 1, &cachify.LockOptions{Fenced: true})
	wantMessage(t, err, "Fenced")
}

func TestSemaphore(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, size := range []int{1, 2, 7} {
			t.Run(fmt.Sprint("size ", size), func(t *testing.T) {
				ctx := t.Context()
				sems := []*cachify.Semaphore[int]{newSemaphore(newClient(t, store, nil), size, nil), newSemaphore(newClient(t, store, nil), size, nil)}
				var leases []*cachify.Lease
				for n := range size {
					inUse(t, sems[0], n)
					lease, err := sems[n%2].TryAcquire(ctx, 1)
					noError(t, err)
					equal(t, "Key", lease.Key(), "sem:pool-1")
					leases = append(leases, lease)
				}
				for _, sem := range sems {
					inUse(t, sem, size)
					equal(t, "Key", cachify.Must(sem.Key(1)), "sem:pool-1")
					lease, err := sem.TryAcquire(ctx, 1)
					wantError(t, err, cachify.ErrFull)
					wantMessage(t, err, "sem:pool-1")
					if lease != nil {
						t.Error("a lease came with the error")
					}
					other, err := sem.TryAcquire(ctx, 2)
					noError(t, err)
					noError(t, other.Release(ctx))
				}
				for n, lease := range leases {
					noError(t, lease.Release(ctx))
					wantError(t, lease.Release(ctx), cachify.ErrLockLost)
					inUse(t, sems[0], size-n-1)
					again, err := sems[n%2].TryAcquire(ctx, 1)
					noError(t, err)
					noError(t, again.Release(ctx))
				}
				inUse(t, sems[0], 0)
				for _, sem := range sems {
					noError(t, sem.Do(ctx, 1, func(context.Context) error { inUse(t, sem, 1); return nil }))
				}
				inUse(t, sems[0], 0)
			})
		}
	})
}

func TestSemaphoreNeverHasTooMany(t *testing.T) {
	const size, clients, callers, turns = 3, 2, 12, 5
	eachStore(t, func(t *testing.T, store cachify.Store) {
		var running, most, runs atomic.Int32
		var wg sync.WaitGroup
		check := newSemaphore(newClient(t, store, nil), size, nil)
		for range clients {
			sem := newSemaphore(newClient(t, store, nil), size, nil)
			for range callers {
				wg.Go(func() {
					for range turns {
						if err := sem.Do(t.Context(), 1, func(context.Context) error {
							if n := running.Add(1); n > most.Load() {
								most.Store(n)
							}
							if n, err := check.InUse(t.Context(), 1); n > size || n < 1 || err != nil {
								t.Errorf("%d in use, %v", n, err)
							}
							runs.Add(1)
							running.Add(-1)
							return nil
						}); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		if most.Load() > size {
			t.Errorf("%d at a time", most.Load())
		}
		equal(t, "runs", runs.Load(), clients*callers*turns)
		inUse(t, check, 0)
	})
}

// A holder that died has its slot for as long as its TTL, and not a moment longer; the others are renewed.
func TestASlotBecomesFreeByExpiry(t *testing.T) {
	for _, died := range []time.Duration{time.Millisecond, 10 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			store := cachify.Memory()
			sem := newSemaphore(newClient(t, store, nil), 2, &cachify.LockOptions{TTL: 700 * time.Millisecond})
			alive := cachify.Must(sem.TryAcquire(ctx, 1))
			_, taken, err := store.Lock(ctx, cachify.Claim{Keys: []string{alive.Key()}, Token: "died", TTL: died, Slots: 2}, "")
			noError(t, err)
			equal(t, "taken", taken, true)
			began := time.Now()
			waits := enter(ctx, sem)
			time.Sleep(died - 1)
			equal(t, "has a slot", len(waits), 0)
			inUse(t, sem, 2)
			next := <-waits
			noError(t, next.err)
			if late := time.Since(began) - died; late > 800*time.Millisecond {
				t.Errorf("the slot was taken %v after the end of the TTL", late)
			}
			equal(t, "the other lease is valid", alive.Valid(), true)
			inUse(t, sem, 2)
			noError(t, next.value.Release(ctx))
			noError(t, alive.Release(ctx))
			inUse(t, sem, 0)
		})
	}
}

func TestWaitersForSlotsAreServedInTheirOrder(t *testing.T) {
	const size, waiters = 3, 20
	for _, immediate := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			store := cachify.Memory()
			if !immediate {
				store = &faultyStore{Store: store}
			}
			sem := newSemaphore(newClient(t, store, nil), size, nil)
			var held []*cachify.Lease
			for range size {
				held = append(held, cachify.Must(sem.TryAcquire(ctx, 1)))
			}
			var mu sync.Mutex
			var got []int
			var running sync.WaitGroup
			for i := range waiters {
				running.Go(func() {
					lease, err := sem.Acquire(ctx, 1)
					noError(t, err)
					mu.Lock()
					got = append(got, i)
					mu.Unlock()
					time.Sleep(time.Duration(1+i%3) * time.Millisecond)
					noError(t, lease.Release(ctx))
				})
				synctest.Wait()
			}
			began := time.Now()
			for _, lease := range held {
				noError(t, lease.Release(ctx))
				synctest.Wait()
			}
			running.Wait()
			for n, i := range got { // those that are served at the same moment may come in any order
				if len(got) != waiters || i <= n-size || i >= n+size {
					t.Errorf("served in the order %v", got)
					break
				}
			}
			if took := time.Since(began); took > waiters*2/size*time.Millisecond+5*time.Millisecond {
				t.Errorf("all were served after %v", took)
			}
			inUse(t, sem, 0)
		})
	}
}

func TestSemaphoreWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, cachify.Memory(), nil)
		sem := newSemaphore(c, 1, &cachify.LockOptions{Wait: 10 * time.Second})
		held := cachify.Must(sem.TryAcquire(t.Context(), 1))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for _, test := range []struct {
			ctx  context.Context
			took time.Duration
			err  error
		}{{ctx, 3 * time.Second, context.DeadlineExceeded}, {t.Context(), 10 * time.Second, cachify.ErrFull}} {
			began := time.Now()
			_, err := sem.Acquire(test.ctx, 1)
			wantError(t, err, cachify.ErrFull)
			wantError(t, err, test.err)
			equal(t, "it took", time.Since(began), test.took)
		}
		err := sem.Do(t.Context(), 1, func(context.Context) error { t.Error("the function ran"); return nil })
		wantError(t, err, cachify.ErrFull)
		noError(t, held.Release(t.Context()))
	})
}

// Processes may disagree about the size, as while a new one is rolled out: each goes by its own.
func TestSemaphoresOfDifferentSizes(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		small, large := newSemaphore(newClient(t, store, nil), 1, nil), newSemaphore(newClient(t, store, nil), 3, nil)
		first := cachify.Must(large.TryAcquire(ctx, 1))
		_, err := small.TryAcquire(ctx, 1)
		wantError(t, err, cachify.ErrFull)
		second := cachify.Must(large.TryAcquire(ctx, 1))
		noError(t, first.Release(ctx))
		_, err = small.TryAcquire(ctx, 1)
		wantError(t, err, cachify.ErrFull)
		noError(t, second.Release(ctx))
		third := cachify.Must(small.TryAcquire(ctx, 1))
		inUse(t, large, 1)
		noError(t, third.Release(ctx))
	})
}
