package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func acquireMany(ctx context.Context, l *cachify.Lock[int], args ...int) <-chan result[*cachify.Lease] {
	return async(func() (*cachify.Lease, error) { return l.AcquireMany(ctx, args) })
}

// taken gives the args of those locks that somebody holds.
func taken(t testing.TB, l *cachify.Lock[int], args ...int) string {
	t.Helper()
	var s []string
	for _, n := range args {
		is, err := l.IsLocked(context.WithoutCancel(t.Context()), n)
		noError(t, err)
		if is {
			s = append(s, fmt.Sprint(n))
		}
	}
	return strings.Join(s, " ")
}

func TestAcquireMany(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here := newLock(newClient(t, store, nil), nil)
		there := newLock(newClient(t, store, nil), &cachify.LockOptions{Wait: 50 * time.Millisecond})
		lease := leased(t, acquireMany(ctx, here, 3, 1, 2, 3, 3))
		equal(t, "Keys", strings.Join(lease.Keys(), " "), "lock:job-1 lock:job-2 lock:job-3")
		equal(t, "Key", lease.Key(), "lock:job-1")
		lease.Keys()[0] = "changed"
		equal(t, "Key", lease.Key(), "lock:job-1")
		equal(t, "taken", taken(t, there, 0, 1, 2, 3, 4), "1 2 3")
		for _, args := range [][]int{{1}, {0, 1}, {3, 4}, {4, 3, 0}, {1, 2, 3}} {
			other, err := there.AcquireMany(ctx, args)
			wantError(t, err, cachify.ErrLocked)
			if other != nil {
				t.Error("a lease came with the error")
			}
			equal(t, "taken", taken(t, there, 0, 1, 2, 3, 4), "1 2 3") // all or none
		}
		ttl, err := lease.TTL(ctx)
		noError(t, err)
		if ttl > cachify.DefaultLockTTL || ttl < cachify.DefaultLockTTL-patience {
			t.Errorf("TTL %v", ttl)
		}
		other := leased(t, acquireMany(ctx, there, 4, 0)) // has nothing in common
		equal(t, "taken", taken(t, here, 0, 1, 2, 3, 4), "0 1 2 3 4")
		noError(t, other.Release(ctx))
		noError(t, lease.Release(ctx))
		wantError(t, lease.Release(ctx), cachify.ErrLockLost)
		equal(t, "taken", taken(t, here, 0, 1, 2, 3, 4), "")
		one := leased(t, acquireMany(ctx, here, 7, 7))
		equal(t, "Keys", strings.Join(one.Keys(), " "), "lock:job-7")
		noError(t, one.Release(ctx))
	})
}

func TestAcquireManyErrors(t *testing.T) {
	ctx := t.Context()
	c := newClient(t, cachify.Memory(), nil)
	for _, args := range [][]int{nil, {}} {
		_, err := newLock(c, nil).AcquireMany(ctx, args)
		wantMessage(t, err, "nothing to lock")
	}
	floats := cachify.Must(cachify.NewLock[float64](c, "f-<n>", nil))
	_, err := floats.AcquireMany(ctx, []float64{1, math.NaN()})
	if err == nil || !strings.Contains(err.Error(), "argument 1") || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("error %v, want one about argument 1, a NaN", err)
	}
	wantMessage(t, err, "")
	is, err := floats.IsLocked(ctx, 1)
	noError(t, err)
	equal(t, "locked", is, false)
}

// It waits for one after the other, and has all of them in the moment the last one is free.
func TestAcquireManyWaits(t *testing.T) {
	eachStoreInRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		ctx := t.Context()
		other := r.other(t, cachify.LockOptions{TTL: time.Hour})
		var holders []*cachify.Lease
		for n := range 4 {
			holders = append(holders, cachify.Must(other.TryAcquire(ctx, n)))
		}
		waits := acquireMany(ctx, r.lock, 3, 2, 1, 0)
		for _, i := range rand.Perm(4) {
			time.Sleep(10 * time.Minute)
			equal(t, "has them", len(waits), 0)
			noError(t, holders[i].Release(ctx))
		}
		began := time.Now()
		lease := <-waits
		noError(t, lease.err)
		if took := time.Since(began); took > time.Millisecond {
			t.Errorf("it had them %v after the last was released", took)
		}
		equal(t, "taken", taken(t, other, 0, 1, 2, 3), "0 1 2 3")
		equal(t, "LeaseWaits", r.client.Stats().LeaseWaits, 1)
		single := acquire(ctx, r.lock) // somebody who waits for one of them
		synctest.Wait()
		noError(t, lease.value.Release(ctx))
		noError(t, leased(t, single).Release(ctx))
	})
}

// Callers want overlapping sets in any order. Nobody waits for ever, and nobody has what another has.
func TestAcquireManyNeverBlocksItself(t *testing.T) {
	const keys, callers, turns = 5, 5, 6
	eachStore(t, func(t *testing.T, store cachify.Store) {
		var mu sync.Mutex
		var holds [keys]bool
		var running sync.WaitGroup
		for c := range 2 {
			lock := newLock(newClient(t, store, nil), nil)
			for i := range callers {
				running.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(c), uint64(i)))
					for range turns {
						args := rng.Perm(keys)[:1+rng.IntN(3)]
						ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
						lease, err := lock.AcquireMany(ctx, args)
						if err != nil {
							t.Error(err)
							cancel()
							return
						}
						mu.Lock()
						for _, n := range args {
							if holds[n] {
								t.Errorf("two have %d", n)
							}
							holds[n] = true
						}
						mu.Unlock()
						mu.Lock()
						for _, n := range args {
							holds[n] = false
						}
						mu.Unlock()
						noError(t, lease.Release(ctx))
						cancel()
					}
				})
			}
		}
		running.Wait()
		equal(t, "taken", taken(t, newLock(newClient(t, store, nil), nil), 0, 1, 2, 3, 4), "")
	})
}

// Who has lost one of several locks has lost its lease. What is left of it goes with its release.
func TestLossOfOneOfMany(t *testing.T) {
	for name, lose := range map[string]func(r *rig) error{
		"deleted": func(r *rig) error {
			_, err := r.store.Store.Delete(context.Background(), nil, []string{"lock:job-2"})
			return err
		},
		"released": func(r *rig) error { return r.lock.Release(context.Background(), 2) },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				lease := <-acquireMany(t.Context(), r.lock, 1, 2, 3)
				noError(t, lease.err)
				time.Sleep(10*lockTTL + lockTTL/7)
				equal(t, "valid", lease.value.Valid(), true)
				began := time.Now()
				noError(t, lose(r))
				limit := map[string]time.Duration{"deleted": lockTTL / 3, "released": 0}[name]
				if took := lostAfter(t, lease.value, began); took > limit {
					t.Errorf("told after %v", took)
				}
				equal(t, "taken", taken(t, r.lock, 1, 2, 3), "1 3")
				wantError(t, lease.value.Release(t.Context()), cachify.ErrLockLost)
				equal(t, "taken", taken(t, r.lock, 1, 2, 3), "")
			})
		})
	}
}

func TestFenceOfMany(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		for _, fenced := range []bool{false, true} {
			lock := newLock(newClient(t, store, nil), &cachify.LockOptions{Fenced: fenced})
			last := int64(0)
			for _, args := range [][]int{{1}, {1, 2, 3}, {2}, {2, 3}, {3, 1}, {1}} {
				lease := leased(t, acquireMany(ctx, lock, args...))
				n := fence(t, lease)
				if n <= last {
					t.Errorf("fencing token %d of %v after %d", n, args, last)
				}
				last = n
				equal(t, "asked again", fence(t, lease), n)
				noError(t, lease.Release(ctx))
			}
		}
	})
}

func TestAcquireManyEnds(t *testing.T) {
	inRig(t, cachify.LockOptions{Wait: 10 * time.Second}, func(t *testing.T, r *rig) {
		holder := cachify.Must(r.other(t, cachify.LockOptions{TTL: time.Hour}).TryAcquire(t.Context(), 2))
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		for _, test := range []struct {
			ctx  context.Context
			took time.Duration
			err  error
		}{{ctx, 3 * time.Second, context.DeadlineExceeded}, {t.Context(), 10 * time.Second, cachify.ErrLocked}} {
			began := time.Now()
			_, err := r.lock.AcquireMany(test.ctx, []int{1, 2})
			wantError(t, err, cachify.ErrLocked)
			wantError(t, err, test.err)
			equal(t, "it took", time.Since(began), test.took)
		}
		for _, fault := range []fault{failing, hanging} {
			r.store.set(fault)
			_, err := r.lock.AcquireMany(t.Context(), []int{1, 2})
			if err == nil {
				t.Error("no error of a store that fails")
			}
			equal(t, fmt.Sprintf("%q is ErrLocked", err), errors.Is(err, cachify.ErrLocked), false)
			_, err = newLock(r.client, &cachify.LockOptions{Wait: time.Millisecond}).AcquireMany(t.Context(), []int{1, 2})
			wantMessage(t, err, "acquire")
			equal(t, fmt.Sprintf("%q is ErrLocked", err), errors.Is(err, cachify.ErrLocked), false)
			_, err = newLock(r.client, &cachify.LockOptions{Wait: time.Millisecond}).Acquire(t.Context(), 1)
			wantMessage(t, err, "acquire")
			equal(t, fmt.Sprintf("%q is ErrLocked", err), errors.Is(err, cachify.ErrLocked), false)
		}
		r.store.set(failing)
		attempts := r.store.count("Lock")
		_, _ = r.lock.AcquireMany(t.Context(), []int{1, 2})
		if n := r.store.count("Lock") - attempts; n > 60 {
			t.Errorf("%d attempts in 10 seconds of an outage", n)
		}
		r.store.set(nil)
		noError(t, holder.Release(t.Context()))
		lease := <-acquireMany(t.Context(), r.lock, 1, 2)
		noError(t, lease.err)
		noError(t, lease.value.Release(t.Context()))
	})
}
