package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// eachStoreInRig runs test over a store that answers at once, and over one that takes a goroutine for each attempt.
func eachStoreInRig(t *testing.T, opts cachify.LockOptions, test func(t *testing.T, r *rig)) {
	for _, immediate := range []bool{true, false} {
		t.Run(fmt.Sprintf("immediate %v", immediate), func(t *testing.T) {
			inRig(t, opts, func(t *testing.T, r *rig) {
				if immediate {
					r.client = newClient(t, r.store.Store, nil)
					o := opts
					if o.TTL == 0 {
						o.TTL = lockTTL
					}
					r.lock = newLock(r.client, &o)
				}
				test(t, r)
			})
		})
	}
}

// queueUp starts waiters one after the other, each of which appends its number to order when it has its lease, and releases it.
func queueUp(t *testing.T, lock *cachify.Lock[int], ctxs []context.Context, order *[]int) <-chan error {
	var mu sync.Mutex
	ended := make(chan error, len(ctxs))
	for i, ctx := range ctxs {
		go func() {
			lease, err := lock.Acquire(ctx, 1)
			if err == nil {
				mu.Lock()
				*order = append(*order, i)
				mu.Unlock()
				time.Sleep(time.Millisecond)
				err = lease.Release(ctx)
			}
			ended <- err
		}()
		synctest.Wait() // it is in the queue
	}
	return ended
}

func TestWaitersAreServedInTheirOrder(t *testing.T) {
	const waiters = 30
	tests := map[string][]int{"all": {}, "without the first": {0}, "without the last": {waiters - 1}, "without some": {0, 1, 4, 9, 10, 29}}
	for name, leave := range tests {
		t.Run(name, func(t *testing.T) {
			eachStoreInRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				holder := try(t, r.lock)
				var want, got []int
				ctxs, cancels := make([]context.Context, waiters), make([]context.CancelFunc, waiters)
				for i := range ctxs {
					ctxs[i], cancels[i] = context.WithCancel(t.Context())
					defer cancels[i]()
					if !slices.Contains(leave, i) {
						want = append(want, i)
					}
				}
				ended := queueUp(t, r.lock, ctxs, &got)
				time.Sleep(time.Minute) // the first of them has tried again and again
				for _, i := range leave {
					began := time.Now()
					cancels[i]()
					err := <-ended
					wantError(t, err, context.Canceled)
					wantError(t, err, cachify.ErrLocked)
					equal(t, "a cancelled waiter came back after", time.Since(began), 0)
				}
				began := time.Now()
				noError(t, holder.Release(t.Context()))
				for range want {
					noError(t, <-ended)
				}
				if !slices.Equal(got, want) {
					t.Errorf("served in the order %v, want %v", got, want)
				}
				took := time.Since(began) - time.Duration(len(want))*time.Millisecond
				if took < 0 || took > 2*time.Millisecond { // after eight holdings they stand back for others, once
					t.Errorf("the holdings began up to %v late", took)
				}
				equal(t, "held", r.held(t), false)
			})
		})
	}
}

func TestOnlyTheFirstWaiterTalksToTheStore(t *testing.T) {
	calls := map[int]int{}
	for _, waiters := range []int{1, 100} {
		inRig(t, cachify.LockOptions{TTL: time.Hour}, func(t *testing.T, r *rig) {
			holder := try(t, r.other(t, cachify.LockOptions{TTL: time.Hour}))
			ctx, cancel := context.WithCancel(t.Context())
			ended := queueUp(t, r.lock, slices.Repeat([]context.Context{ctx}, waiters), new([]int))
			time.Sleep(time.Minute)
			calls[waiters] = r.store.count("Lock") + r.store.count("Holders")
			if attempts := r.store.count("Lock"); attempts < 60 || attempts > 125 {
				t.Errorf("%d attempts in a minute, want one or two a second", attempts)
			}
			cancel()
			for range waiters {
				wantError(t, <-ended, cachify.ErrLocked)
			}
			noError(t, holder.Release(t.Context()))
		})
	}
	if calls[100] > 2*calls[1] {
		t.Errorf("in a minute 1 waiter makes %d calls, 100 of them %d", calls[1], calls[100])
	}
}

// The lock becomes free between the failed attempt and the subscription.
func TestAReleaseBeforeTheSubscriptionIsNotMissed(t *testing.T) {
	inRig(t, cachify.LockOptions{TTL: time.Hour}, func(t *testing.T, r *rig) {
		holder := try(t, r.other(t, cachify.LockOptions{TTL: time.Hour}))
		r.store.set(func(_ context.Context, op string, do func() error) error {
			err := do()
			if op == "Lock" && holder.Valid() {
				noError(t, holder.Release(t.Context()))
			}
			return err
		})
		began := time.Now()
		lease := leased(t, acquire(t.Context(), r.lock))
		equal(t, "Acquire took", time.Since(began), 0)
		noError(t, lease.Release(t.Context()))
	})
}

// A deafStore loses all notifications.
type deafStore struct{ *faultyStore }

func (deafStore) Watch(string) (<-chan struct{}, func()) { return make(chan struct{}), func() {} }

func TestLostNotificationsAndDeadHolders(t *testing.T) {
	tests := map[string]struct {
		ttl  time.Duration // of the holder
		end  time.Duration // when the lock becomes free: when it is released, or else when it expires
		most time.Duration
	}{
		"released":                 {time.Hour, 10 * time.Second, 10*time.Second + time.Second},
		"released at once":         {time.Hour, time.Millisecond, time.Second + time.Millisecond},
		"dead, with a long TTL":    {30 * time.Second, 0, 31 * time.Second},
		"dead, with a short TTL":   {300 * time.Millisecond, 0, 340 * time.Millisecond},
		"dead, with a tiny TTL":    {time.Millisecond, 0, 301 * time.Millisecond}, // the waiter's own
		"dead, with a TTL of some": {2 * time.Second, 0, 2300 * time.Millisecond},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				ctx := t.Context()
				lock := newLock(newClient(t, deafStore{r.store}, nil), &cachify.LockOptions{TTL: 300 * time.Millisecond})
				holder := cachify.Claim{Keys: []string{r.key}, Token: "holder", TTL: test.ttl}
				_, taken, err := r.store.Store.Lock(ctx, holder, "")
				noError(t, err)
				equal(t, "taken", taken, true)
				began := time.Now()
				waits := acquire(ctx, lock)
				if test.end > 0 {
					time.Sleep(test.end)
					_, err := r.store.Store.Unlock(ctx, holder)
					noError(t, err)
				}
				got := <-waits
				noError(t, got.err)
				noError(t, got.value.Release(ctx))
				if took := time.Since(began); took < max(test.end, 0) || test.end == 0 && took < test.ttl || took > test.most {
					t.Errorf("the lock was taken after %v, want at most %v", took, test.most)
				}
			})
		})
	}
}

// Two clients, with many callers each who want the lock again as soon as they have released it: all of them get it.
func TestNobodyStarves(t *testing.T) {
	const callers, length = 10, 20 * time.Second
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		slow := func(_ context.Context, _ string, do func() error) error {
			time.Sleep(100 * time.Microsecond)
			defer time.Sleep(100 * time.Microsecond)
			return do()
		}
		var mu sync.Mutex
		var longest time.Duration
		counts := make([][callers]int, 3)
		end := time.Now().Add(length)
		var running sync.WaitGroup
		for c, n := range []int{callers, callers, 1} { // the third has one alone
			store := &faultyStore{Store: r.store.Store}
			store.set(slow)
			lock := newLock(newClient(t, store, nil), nil)
			for i := range n {
				running.Go(func() {
					for time.Now().Before(end) {
						began := time.Now()
						lease, err := lock.Acquire(t.Context(), 1)
						noError(t, err)
						mu.Lock()
						longest = max(longest, time.Since(began))
						counts[c][i]++
						mu.Unlock()
						time.Sleep(time.Millisecond)
						noError(t, lease.Release(t.Context()))
					}
				})
			}
		}
		running.Wait()
		t.Logf("longest wait %v, turns %v", longest, counts)
		total := func(c int) (n int) {
			for _, k := range counts[c] {
				n += k
			}
			return n
		}
		for c := range 2 {
			if least := slices.Min(counts[c][:]); least < total(c)/callers/2 {
				t.Errorf("of %d turns of a client with %d callers one got %d", total(c), callers, least)
			}
		}
		if a, b := total(0), total(1); a < b/2 || b < a/2 {
			t.Errorf("one client had %d turns, the other %d", a, b)
		}
		if alone := total(2); alone < 100 {
			t.Errorf("the caller that is alone in its client had %d turns, the others %d and %d", alone, total(0), total(1))
		}
		if longest > 2*time.Second {
			t.Errorf("the longest wait took %v", longest)
		}
	})
}

// A lateCtx is a ctx whose deadline may have passed without its timer having run yet, as on a busy machine.
type lateCtx struct {
	context.Context
	deadline time.Time
}

func (c lateCtx) Deadline() (time.Time, bool) { return c.deadline, true }

func TestADeadlineThatHasPassedUnnoticedIsNoLease(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		holder := try(t, r.lock)
		inner, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx := lateCtx{inner, time.Now().Add(10 * time.Second)}
		waits := acquire(ctx, r.lock)
		time.Sleep(8 * time.Second)
		r.store.set(func(_ context.Context, op string, do func() error) error {
			if op == "Lock" {
				time.Sleep(3 * time.Second)
				return errDown
			}
			return do()
		})
		time.Sleep(4 * time.Second)
		cancel()
		got := <-waits
		if got.err == nil {
			t.Fatalf("Acquire gave a lease (valid: %v) of a lock that somebody else holds", got.value.Valid())
		}
		wantError(t, got.err, cachify.ErrLocked)
		if !errors.Is(got.err, context.DeadlineExceeded) && !errors.Is(got.err, context.Canceled) {
			t.Errorf("error %v, want it joined with the ctx'", got.err)
		}
		r.store.set(nil)
		noError(t, holder.Release(t.Context()))
	})
}

// A caller's first attempt takes the lock without learning of it, and when it comes to wait for it there is somebody in the queue
// before it, who waits for nobody else than that caller.
func TestAWaiterDoesNotWaitForItself(t *testing.T) {
	for _, ttl := range []time.Duration{time.Hour, cachify.NoExpiry} {
		t.Run(fmt.Sprint("TTL ", ttl), func(t *testing.T) {
			inRig(t, cachify.LockOptions{TTL: ttl}, func(t *testing.T, r *rig) {
				gate := make(chan struct{})
				r.store.set(func(_ context.Context, op string, do func() error) error {
					err := do()
					if op == "Lock" && r.store.count("Lock") == 1 {
						<-gate
						return errDown
					}
					return err
				})
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				first := acquire(ctx, r.lock)
				synctest.Wait()
				equal(t, "held", r.held(t), true)
				second := acquire(ctx, r.lock)
				synctest.Wait()
				began := time.Now()
				close(gate)
				for _, waits := range []<-chan result[*cachify.Lease]{first, second} {
					go func() {
						if got := <-waits; got.err != nil {
							t.Errorf("Acquire: %v", got.err)
						} else {
							noError(t, got.value.Release(ctx))
						}
						if took := time.Since(began); took > time.Second {
							t.Errorf("it took %v", took)
						}
					}()
				}
				time.Sleep(time.Minute)
				equal(t, "held", r.held(t), false)
			})
		})
	}
}
