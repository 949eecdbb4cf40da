package cachify_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func TestLockStats(t *testing.T) {
	inRig(t, cachify.LockOptions{Wait: time.Second}, func(t *testing.T, r *rig) {
		ctx := t.Context()
		was := cachify.Stats{}
		step := func(what string, leases, waits, lost int64) {
			t.Helper()
			synctest.Wait()
			is := r.client.Stats()
			got := [3]int64{is.Leases - was.Leases, is.LeaseWaits - was.LeaseWaits, is.LeasesLost - was.LeasesLost}
			equal(t, what+": leases, waits, lost", got, [3]int64{leases, waits, lost})
			was = is
		}
		lease := try(t, r.lock)
		step("TryAcquire", 1, 0, 0)
		_, _ = r.lock.TryAcquire(ctx, 1)
		step("TryAcquire of what is locked", 0, 0, 0)
		_, _ = r.lock.Acquire(ctx, 1)
		step("a wait in vain", 0, 1, 0)
		waits := acquire(ctx, r.lock)
		synctest.Wait()
		noError(t, lease.Release(ctx))
		lease = leased(t, waits)
		step("a hand-over", 1, 1, 0)
		noError(t, lease.Extend(ctx, time.Hour))
		noError(t, lease.Release(ctx))
		step("a release", 0, 0, 0)
		slot := cachify.Must(newSemaphore(r.client, 1, nil).Acquire(ctx, 1))
		step("a slot", 1, 0, 0)
		noError(t, slot.Release(ctx))
		noError(t, r.lock.Do(ctx, 1, func(context.Context) error { return nil }))
		_, err := newOnce(r.client, square, nil).Do(ctx, 1)
		noError(t, err)
		step("Do and Once", 2, 0, 0)
		lease = cachify.Must(r.lock.AcquireMany(ctx, []int{1, 2, 3}))
		step("AcquireMany", 1, 0, 0)
		_, _ = r.lock.AcquireMany(ctx, []int{3, 4})
		step("AcquireMany, a wait in vain", 0, 1, 0)
		noError(t, r.lock.Release(ctx, 2))
		<-lease.Context().Done()
		step("released by force", 0, 0, 1)
		wantError(t, lease.Release(ctx), cachify.ErrLockLost)
		step("the release of what is lost", 0, 0, 0)
		lease = cachify.Must(newLock(r.client, &cachify.LockOptions{TTL: lockTTL, NoRenew: true}).TryAcquire(ctx, 1))
		<-lease.Context().Done()
		step("expired", 1, 0, 1)
		_ = lease.Release(ctx)
		lease = try(t, r.lock)
		_, err = r.store.Store.Delete(ctx, nil, []string{r.key})
		noError(t, err)
		wantError(t, lease.Release(ctx), cachify.ErrLockLost)
		step("its loss is noticed by its release", 1, 0, 1)
	})
}

func TestTracerIsToldOfLocks(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c, traced := tracedClient(t, store)
		lock, sem := newLock(c, &cachify.LockOptions{Wait: 100 * time.Millisecond}), newSemaphore(c, 1, nil)
		var lease, slot, many *cachify.Lease
		for _, test := range []struct {
			what string
			call func() error
			want string
		}{
			{"Acquire", func() (err error) { lease, err = lock.Acquire(ctx, 1); return err }, "Acquire> lock:job-1 acquired"},
			{"Acquire of what is locked", func() error { _, err := lock.Acquire(ctx, 1); return err }, "Acquire> lock:job-1 locked err"},
			{"TryAcquire of what is locked", func() error { _, err := lock.TryAcquire(ctx, 1); return err }, "TryAcquire> lock:job-1 locked err"},
			{"AcquireMany of what is locked", func() error { _, err := lock.AcquireMany(ctx, []int{1, 2}); return err }, "AcquireMany>  locked err"},
			{"Release", func() error { return lease.Release(ctx) }, "Release> lock:job-1"},
			{"Release again", func() error { return lease.Release(ctx) }, "Release> lock:job-1 err"},
			{"TryAcquire", func() (err error) { lease, err = lock.TryAcquire(ctx, 1); return err }, "TryAcquire> lock:job-1 acquired"},
			{"its release", func() error { return lease.Release(ctx) }, "Release> lock:job-1"},
			{"AcquireMany", func() (err error) { many, err = lock.AcquireMany(ctx, []int{2, 1}); return err }, "AcquireMany>  acquired"},
			{"Release of many", func() error { return many.Release(ctx) }, "Release> lock:job-1"},
			{"Acquire of a slot", func() (err error) { slot, err = sem.Acquire(ctx, 1); return err }, "Acquire> sem:pool-1 acquired"},
			{"TryAcquire of a slot", func() error { _, err := sem.TryAcquire(ctx, 1); return err }, "TryAcquire> sem:pool-1 locked err"},
			{"Release of a slot", func() error { return slot.Release(ctx) }, "Release> sem:pool-1"},
			{"Do", func() error { return lock.Do(ctx, 1, func(context.Context) error { return nil }) }, "Acquire> lock:job-1 acquired; Release> lock:job-1"},
			{"a cancelled ctx", func() error {
				ctx, cancel := context.WithCancel(ctx)
				cancel()
				_, err := lock.Acquire(ctx, 1)
				return err
			}, "Acquire> lock:job-1 err"},
		} {
			_ = test.call()
			equal(t, test.what, traced.told(t), test.want)
		}
		// The acquisition is over when the lease is used: its span is no parent of what happens then.
		noError(t, lock.Do(ctx, 1, func(ctx context.Context) error {
			if ctx.Value(spanKey{}) != nil {
				return errors.New("the function's ctx is that of the acquisition's span")
			}
			return nil
		}))
	})
}
