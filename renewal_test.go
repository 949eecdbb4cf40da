package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// lostAfter waits for a lease to be lost and says how long after began that was.
func lostAfter(t testing.TB, l *cachify.Lease, began time.Time) time.Duration {
	t.Helper()
	select {
	case <-l.Context().Done():
	case <-time.After(3 * time.Hour):
		t.Fatal("the lease is not lost")
	}
	took := time.Since(began)
	wantError(t, context.Cause(l.Context()), cachify.ErrLockLost)
	equal(t, "valid", l.Valid(), false)
	return took
}

// Leases of all kinds side by side, for many of their TTLs.
func TestLeasesOfDifferentTTLs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, nil)
		var leases []*cachify.Lease
		for n := range 100 {
			ttl := time.Duration(n+1) * 37 * time.Millisecond
			if n%10 == 0 {
				ttl = cachify.NoExpiry
			}
			opts := &cachify.LockOptions{TTL: ttl}
			var lease *cachify.Lease
			var err error
			switch lock := newLock(c, opts); n % 3 {
			case 0:
				lease, err = lock.Acquire(ctx, n)
			case 1:
				lease, err = newSemaphore(c, 3, opts).Acquire(ctx, n/9) // three at a time
			default:
				lease, err = lock.AcquireMany(ctx, []int{n, 1000 + n})
			}
			noError(t, err)
			leases = append(leases, lease)
			time.Sleep(3 * time.Millisecond)
		}
		for range 100 {
			time.Sleep(317 * time.Millisecond)
			for n, lease := range leases {
				if _, err := lease.TTL(ctx); err != nil || !lease.Valid() || lease.Context().Err() != nil {
					t.Fatalf("lease %d, of %v: %v, %v", n, lease.Key(), err, context.Cause(lease.Context()))
				}
			}
		}
		for _, lease := range leases {
			noError(t, lease.Release(ctx))
		}
		calls := store.count("Extend")
		time.Sleep(time.Hour)
		equal(t, "renewals after the last release", store.count("Extend"), calls)
	})
}

func TestRenewalsTravelTogether(t *testing.T) {
	const leases, ttl, rounds = 1000, 30 * time.Second, 30
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, nil)
		lock := newLock(c, &cachify.LockOptions{TTL: ttl})
		warm := cachify.Must(lock.Acquire(t.Context(), -1))
		synctest.Wait()
		before := runtime.NumGoroutine()
		held := []*cachify.Lease{warm}
		for n := range leases {
			held = append(held, cachify.Must(lock.Acquire(t.Context(), n)))
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		if more := runtime.NumGoroutine() - before; more > 10 {
			t.Errorf("%d leases have %d goroutines", leases, more)
		}
		calls := store.count("Extend")
		time.Sleep(rounds * ttl / 3)
		if calls := store.count("Extend") - calls; calls < rounds*leases/256 || calls > rounds*8 {
			t.Errorf("%d leases were renewed %d times by %d calls", leases, rounds, calls)
		}
		for _, l := range held {
			noError(t, l.Release(t.Context()))
		}
	})
}

// A lease with MaxHold is lost shortly before it is over, and the lock is gone when it is.
func TestMaxHold(t *testing.T) {
	for _, test := range []struct{ ttl, maxHold time.Duration }{
		{3 * time.Second, 3 * time.Second}, {3 * time.Second, 10 * time.Second}, {3 * time.Second, 9999 * time.Millisecond},
		{3 * time.Second, 3001 * time.Millisecond}, {time.Minute, time.Hour}, {7 * time.Millisecond, time.Second}, {time.Millisecond, 10 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			inRig(t, cachify.LockOptions{TTL: test.ttl, MaxHold: test.maxHold}, func(t *testing.T, r *rig) {
				began := time.Now()
				lease := try(t, r.lock)
				took := lostAfter(t, lease, began)
				if margin := min(test.ttl/10, time.Second); took > test.maxHold || took < test.maxHold-margin-time.Microsecond {
					t.Errorf("lost after %v of %v", took, test.maxHold)
				}
				time.Sleep(time.Until(began.Add(test.maxHold)) + time.Millisecond)
				equal(t, "held after that", r.held(t), false)
				calls := r.store.count("Extend")
				time.Sleep(time.Hour)
				equal(t, "renewals", r.store.count("Extend"), calls)
				wantError(t, lease.Release(t.Context()), cachify.ErrLockLost)
			})
		})
	}
}

func TestMaxHoldAfterAnOutage(t *testing.T) {
	const maxHold = 5 * lockTTL
	for phase := time.Duration(0); phase < maxHold; phase += maxHold / 20 {
		inRig(t, cachify.LockOptions{MaxHold: maxHold}, func(t *testing.T, r *rig) {
			began := time.Now()
			lease := try(t, r.lock)
			time.AfterFunc(phase, func() { r.store.set(failing) })
			time.AfterFunc(phase+lockTTL/3, func() { r.store.set(nil) })
			if took := lostAfter(t, lease, began); took > maxHold || took < maxHold-lockTTL/2 {
				t.Errorf("with an outage after %v, lost after %v of %v", phase, took, maxHold)
			}
			time.Sleep(time.Until(began.Add(maxHold)) + time.Millisecond)
			equal(t, "held after that", r.held(t), false)
		})
	}
}

// What a holder learns of, and when.
func TestLossOfALease(t *testing.T) {
	remove := func(r *rig) {
		_, _ = r.store.Store.Delete(context.Background(), nil, []string{r.key})
	}
	taken := func(r *rig) {
		remove(r)
		_, _, _ = r.store.Store.Lock(context.Background(), cachify.Claim{Keys: []string{r.key}, Token: "another's", TTL: cachify.NoExpiry}, "")
	}
	forced := func(r *rig) { _ = r.lock.Release(context.Background(), 1) }
	other := func(r *rig) {
		c := cachify.New(r.store.Store, nil)
		_ = newLock(c, nil).Release(context.Background(), 1)
		_ = c.Close()
	}
	renewed, notRenewed, forGood := cachify.LockOptions{}, cachify.LockOptions{NoRenew: true}, cachify.LockOptions{TTL: cachify.NoExpiry}
	const never = time.Duration(-1)
	tests := map[string]struct {
		opts  cachify.LockOptions
		loss  func(*rig)
		after time.Duration // how long it may take to know of it
	}{
		"deleted":                             {renewed, remove, lockTTL/3 + 1},
		"deleted, not renewed":                {notRenewed, remove, lockTTL},
		"deleted, without expiry":             {forGood, remove, never},
		"taken by another":                    {renewed, taken, lockTTL/3 + 1},
		"taken by another, not renewed":       {notRenewed, taken, lockTTL},
		"released by force":                   {renewed, forced, 0},
		"released by force, not renewed":      {notRenewed, forced, 0},
		"released by force, without expiry":   {forGood, forced, 0},
		"released by force elsewhere":         {renewed, other, 0},
		"released by force, many times":       {renewed, func(r *rig) { forced(r); other(r); forced(r) }, 0},
		"released and taken again at once":    {renewed, func(r *rig) { other(r); taken(r) }, 0},
		"released without expiry, then taken": {forGood, func(r *rig) { other(r); taken(r) }, 0},
	}
	for name, test := range tests {
		for phase := time.Duration(0); phase < lockTTL; phase += lockTTL / 5 {
			inRig(t, test.opts, func(t *testing.T, r *rig) {
				lease := try(t, r.lock)
				others := []*cachify.Lease{cachify.Must(r.lock.TryAcquire(t.Context(), 2)), cachify.Must(newSemaphore(r.client, 1, &test.opts).TryAcquire(t.Context(), 1))}
				time.Sleep(phase / 2)
				if !test.opts.NoRenew {
					time.Sleep(4*lockTTL + phase/2)
				}
				began := time.Now()
				test.loss(r)
				synctest.Wait()
				if test.after == never {
					time.Sleep(time.Hour)
					_, err := lease.TTL(t.Context()) // finds out
					wantError(t, err, cachify.ErrLockLost)
				}
				if took := lostAfter(t, lease, began); took > test.after && test.after != never {
					t.Errorf("%s: known after %v", name, took)
				}
				wantError(t, lease.Extend(t.Context(), time.Hour), cachify.ErrLockLost)
				_, err := lease.Fence(t.Context())
				wantError(t, err, cachify.ErrLockLost)
				_, err = lease.TTL(t.Context())
				wantError(t, err, cachify.ErrLockLost)
				wantError(t, lease.Release(t.Context()), cachify.ErrLockLost)
				if !test.opts.NoRenew {
					equal(t, name+": LeasesLost", r.client.Stats().LeasesLost, 1)
					time.Sleep(2 * lockTTL)
					for _, l := range others {
						equal(t, name+": the other leases are valid", l.Valid(), true)
						noError(t, l.Release(t.Context()))
					}
				}
			})
		}
	}
}

// A lock is released by force while its renewal, or its acquisition, is on its way back from the store.
func TestForcedReleaseMeetsARenewal(t *testing.T) {
	for _, test := range []struct {
		op   string
		opts cachify.LockOptions
	}{{"Extend", cachify.LockOptions{}}, {"Lock", cachify.LockOptions{}}, {"Lock", cachify.LockOptions{NoRenew: true}}, {"Lock", cachify.LockOptions{TTL: cachify.NoExpiry}}} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			inRig(t, test.opts, func(t *testing.T, r *rig) {
				warm := cachify.Must(r.lock.TryAcquire(t.Context(), 2)) // there is a subscription
				synctest.Wait()
				gate := make(chan struct{})
				r.store.set(func(_ context.Context, op string, do func() error) error {
					err := do()
					if op == test.op {
						<-gate
					}
					return err
				})
				acquired := acquire(t.Context(), r.lock)
				if test.op == "Extend" {
					synctest.Wait()
					time.Sleep(lockTTL/3 + lockTTL/100)
				}
				synctest.Wait()
				noError(t, r.other(t, cachify.LockOptions{}).Release(t.Context(), 1))
				synctest.Wait()
				r.store.set(nil)
				began := time.Now()
				close(gate)
				lease := (<-acquired).value
				if took := lostAfter(t, lease, began); took > lockTTL/10 {
					t.Errorf("known after %v", took)
				}
				wantError(t, lease.Release(t.Context()), cachify.ErrLockLost)
				_ = warm.Release(t.Context())
			})
		})
	}
}

// A renewal that is on its way when the lease is released neither keeps nor brings back anything.
func TestARenewalDoesNotOutliveItsRelease(t *testing.T) {
	for name, fault := range map[string]func(gate chan struct{}, do func() error) error{
		"done late":     func(gate chan struct{}, do func() error) error { <-gate; return do() },
		"answered late": func(gate chan struct{}, do func() error) error { err := do(); <-gate; return err },
		"failing late":  func(gate chan struct{}, do func() error) error { <-gate; return errDown },
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				lease := try(t, r.lock)
				synctest.Wait()
				gate := make(chan struct{})
				r.store.set(func(_ context.Context, op string, do func() error) error {
					if op == "Extend" {
						return fault(gate, do)
					}
					return do()
				})
				time.Sleep(lockTTL/3 + time.Millisecond)
				noError(t, lease.Release(t.Context()))
				equal(t, "held", r.held(t), false)
				next := try(t, r.other(t, cachify.LockOptions{NoRenew: true}))
				r.store.set(nil)
				close(gate)
				calls := r.store.count("Extend")
				began := time.Now()
				if took := lostAfter(t, next, began); took > lockTTL {
					t.Errorf("the next holder's lease ended after %v", took)
				}
				time.Sleep(lockTTL)
				equal(t, "held", r.held(t), false)
				equal(t, "renewals", r.store.count("Extend"), calls)
				equal(t, "cause", context.Cause(lease.Context()), context.Canceled)
			})
		})
	}
}

// Valid goes by the clock alone: nothing has to have run for it.
func TestValidIsByTheClock(t *testing.T) {
	inRig(t, cachify.LockOptions{NoRenew: true, TTL: 10 * time.Second}, func(t *testing.T, r *rig) {
		began := time.Now()
		lease := try(t, r.lock)
		time.Sleep(9*time.Second - 1)
		equal(t, "valid", lease.Valid(), true)
		noError(t, lease.Context().Err())
		time.Sleep(time.Nanosecond)
		equal(t, "valid in the margin", lease.Valid(), false)
		equal(t, "lost after", lostAfter(t, lease, began), 9*time.Second)
		equal(t, "held", r.held(t), true)
		if err := lease.Release(t.Context()); !errors.Is(err, cachify.ErrLockLost) {
			t.Errorf("Release: %v", err)
		}
		equal(t, "held after its release", r.held(t), false)
	})
}
