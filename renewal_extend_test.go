package cachify_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// left asks the store how long the lock has left.
func (r *rig) left(t testing.TB) time.Duration {
	t.Helper()
	_, left, err := r.store.Store.Holders(context.WithoutCancel(t.Context()), r.key, false)
	noError(t, err)
	if len(left) == 0 {
		return 0
	}
	return left[0]
}

func TestExtend(t *testing.T) {
	inRig(t, cachify.LockOptions{NoRenew: true}, func(t *testing.T, r *rig) {
		ctx, began := t.Context(), time.Now()
		lease := try(t, r.lock)
		time.Sleep(lockTTL / 2)
		noError(t, lease.Extend(ctx, time.Minute))
		equal(t, "TTL in the store", r.left(t), time.Minute)
		noError(t, lease.Extend(ctx, time.Millisecond)) // never shortens
		ttl, err := lease.TTL(ctx)
		noError(t, err)
		equal(t, "TTL", ttl, time.Minute)
		equal(t, "lost after", lostAfter(t, lease, began), lockTTL/2+59*time.Second)
		equal(t, "held when it is lost", r.held(t), true)
		wantError(t, lease.Extend(ctx, time.Hour), cachify.ErrLockLost)
		equal(t, "TTL after that", r.left(t), time.Second)
		wantError(t, lease.Release(ctx), cachify.ErrLockLost)
		wantError(t, lease.Extend(ctx, time.Hour), cachify.ErrLockLost)
	})
}

func TestExtendErrors(t *testing.T) {
	inRig(t, cachify.LockOptions{NoRenew: true}, func(t *testing.T, r *rig) {
		lease := try(t, r.lock)
		for _, d := range []time.Duration{0, 1, time.Millisecond - 1, -2, -time.Hour} {
			wantMessage(t, lease.Extend(t.Context(), d), "Extend")
		}
		r.store.set(failing)
		err := lease.Extend(t.Context(), time.Hour)
		wantError(t, err, errDown)
		wantMessage(t, err, r.key)
		equal(t, "valid", lease.Valid(), true) // that says nothing about the lease
		r.store.set(hanging)
		wantMessage(t, lease.Extend(t.Context(), time.Hour), r.key)
		equal(t, "valid", lease.Valid(), true)
		r.store.set(nil)
		noError(t, lease.Extend(t.Context(), time.Hour))
		noError(t, lease.Release(t.Context()))
	})
}

// Renewals go on after Extend, and don't take back what it gave.
func TestRenewalsDoNotShortenAnExtension(t *testing.T) {
	for _, d := range []time.Duration{time.Hour, cachify.NoExpiry} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				ctx, began := t.Context(), time.Now()
				lease := try(t, r.lock)
				for range 3 {
					noError(t, lease.Extend(ctx, d))
					noError(t, r.other(t, cachify.LockOptions{}).Release(ctx, 2)) // has all leases looked after
				}
				for range 20 {
					time.Sleep(10 * time.Second)
					want := cachify.NoExpiry
					if d != cachify.NoExpiry {
						want = d - time.Since(began)
					}
					equal(t, "TTL in the store", r.left(t), want)
					equal(t, "valid", lease.Valid(), true)
				}
				r.store.set(failing) // what counts is that it has been extended
				time.Sleep(50 * time.Minute)
				equal(t, "valid in an outage", lease.Valid(), true)
				equal(t, "held", r.held(t), true)
				r.store.set(nil)
				time.Sleep(10 * time.Hour)
				equal(t, "valid after that", lease.Valid(), true)
				noError(t, lease.Context().Err())
				noError(t, lease.Release(ctx))
				equal(t, "held", r.held(t), false)
			})
		})
	}
}

// On each store: what Extend says, the store does.
func TestExtendOnEachStore(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		opts := &cachify.LockOptions{TTL: time.Minute}
		slot, err := newSemaphore(c, 2, opts).TryAcquire(ctx, 1)
		noError(t, err)
		many, err := newLock(c, opts).AcquireMany(ctx, []int{2, 3})
		noError(t, err)
		for _, lease := range []*cachify.Lease{try(t, newLock(c, opts)), slot, many} {
			ttl := func(want time.Duration) {
				t.Helper()
				got, err := lease.TTL(ctx)
				noError(t, err)
				if want == cachify.NoExpiry && got != want || want != cachify.NoExpiry && (got > want || got < want-patience) {
					t.Errorf("the TTL of %s is %v, want %v", lease.Key(), got, want)
				}
			}
			ttl(time.Minute)
			for _, step := range []struct{ d, want time.Duration }{{time.Hour, time.Hour}, {time.Second, time.Hour}, {2 * time.Hour, 2 * time.Hour},
				{cachify.NoExpiry, cachify.NoExpiry}, {time.Minute, cachify.NoExpiry}, {cachify.NoExpiry, cachify.NoExpiry}} {
				if err := lease.Extend(ctx, step.d); err != nil {
					t.Fatalf("Extend of %s by %v: %v", lease.Key(), step.d, err)
				}
				ttl(step.want)
				equal(t, "valid", lease.Valid(), true)
			}
			noError(t, lease.Release(ctx))
			wantError(t, lease.Extend(ctx, time.Hour), cachify.ErrLockLost)
		}
	})
}

// The release of an extended lease is tried for as long as the lock can live, not just for its first TTL.
func TestTheReleaseOfAnExtendedLeaseIsTriedAgain(t *testing.T) {
	for _, d := range []time.Duration{0, 30 * time.Minute, cachify.NoExpiry} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				lease := try(t, r.lock)
				outage := lockTTL / 2
				if d != 0 {
					noError(t, lease.Extend(t.Context(), d))
					outage = 20 * time.Minute
				}
				r.store.set(failing)
				wantError(t, lease.Release(t.Context()), errDown)
				time.Sleep(outage)
				equal(t, "held", r.held(t), true)
				r.store.set(nil)
				time.Sleep(3 * time.Second)
				equal(t, "held after the outage", r.held(t), false)
			})
		})
	}
}

// An acquisition that had to be repeated may reach the store once more, late. That makes no holder believe in more than it has.
func TestExtendAfterALostReply(t *testing.T) {
	inRig(t, cachify.LockOptions{NoRenew: true}, func(t *testing.T, r *rig) {
		r.store.set(func(_ context.Context, op string, do func() error) error {
			if op == "Lock" && r.store.count("Lock") == 1 {
				return errDown
			}
			return do()
		})
		lease := leased(t, acquire(t.Context(), r.lock))
		synctest.Wait()
		noError(t, lease.Extend(t.Context(), time.Minute))
		tokens, _, err := r.store.Store.Holders(t.Context(), r.key, false)
		noError(t, err)
		_, ok, err := r.store.Store.Lock(t.Context(), cachify.Claim{Keys: []string{r.key}, Token: tokens[0], TTL: lockTTL}, "") // the first one arrives
		noError(t, err)
		equal(t, "taken", ok, true)
		began := time.Now()
		left := r.left(t)
		if took := lostAfter(t, lease, began); took > left {
			t.Errorf("the lease is believed in for %v, and has %v", took, left)
		}
	})
}
