package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func fence(t testing.TB, l *cachify.Lease) int64 {
	t.Helper()
	n, err := l.Fence(context.WithoutCancel(t.Context()))
	noError(t, err)
	if n <= 0 {
		t.Fatalf("fencing token %d", n)
	}
	return n
}

func TestFencingTokensGrow(t *testing.T) {
	for _, fenced := range []bool{false, true} {
		t.Run(fmt.Sprintf("Fenced %v", fenced), func(t *testing.T) {
			eachStore(t, func(t *testing.T, store cachify.Store) {
				ctx := t.Context()
				opts := &cachify.LockOptions{Fenced: fenced}
				c := newClient(t, store, nil)
				here, there := newLock(c, opts), newLock(newClient(t, store, nil), opts)
				last := int64(0)
				// next checks the token of the next holding.
				next := func(how string, l *cachify.Lease) {
					t.Helper()
					n := fence(t, l)
					if n <= last {
						t.Errorf("%s: fencing token %d after %d", how, n, last)
					}
					last = n
					for range 3 {
						equal(t, "asked again", fence(t, l), n)
					}
					noError(t, l.Extend(ctx, time.Hour))
					equal(t, "asked after Extend", fence(t, l), n)
				}
				lease := try(t, here)
				next("first", lease)
				for range 3 {
					for _, lock := range []*cachify.Lock[int]{there, here} {
						noError(t, lease.Release(ctx))
						lease = try(t, lock)
						next("released", lease)
					}
				}
				noError(t, lease.Release(ctx))
				lease = try(t, here)
				for i := range int64(10) {
					waits := acquire(ctx, here)
					eventually(t, "it waits", func() bool { return c.Stats().LeaseWaits == i+1 })
					before := lease
					noError(t, lease.Release(ctx))
					lease = leased(t, waits)
					next("handed over", lease)
					_, err := before.Fence(ctx)
					wantError(t, err, cachify.ErrLockLost)
				}
				before := lease
				noError(t, there.Release(ctx, 1))
				lease = try(t, there)
				next("released by force", lease)
				receive(t, "the loss of the lease", before.Context().Done())
				_, err := before.Fence(ctx)
				wantError(t, err, cachify.ErrLockLost)
				_, err = store.Delete(ctx, nil, []string{lease.Key()})
				noError(t, err)
				next("deleted", try(t, here))
				if !fenced { // one that has never asked and has lost it does not get one
					_, err = store.Delete(ctx, nil, []string{lease.Key()})
					noError(t, err)
					lost := try(t, here)
					_, err = store.Delete(ctx, nil, []string{lease.Key()})
					noError(t, err)
					_, err = lost.Fence(ctx)
					wantError(t, err, cachify.ErrLockLost)
					equal(t, "valid", lost.Valid(), false)
					wantError(t, context.Cause(lost.Context()), cachify.ErrLockLost)
				}
			})
		})
	}
}

func TestFencingTokensGrowOverExpiry(t *testing.T) {
	inRig(t, cachify.LockOptions{NoRenew: true}, func(t *testing.T, r *rig) {
		last := int64(0)
		for range 20 {
			lease := try(t, r.lock)
			n := fence(t, lease)
			if n <= last {
				t.Errorf("fencing token %d after %d", n, last)
			}
			last = n
			lostAfter(t, lease, time.Now())
			_, err := lease.Fence(t.Context())
			wantError(t, err, cachify.ErrLockLost)
			time.Sleep(lockTTL)
		}
	})
}

func TestFenceErrors(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		ctx := t.Context()
		lease := try(t, r.lock)
		r.store.set(failing)
		_, err := lease.Fence(ctx)
		wantError(t, err, errDown)
		wantMessage(t, err, r.key)
		r.store.set(hanging)
		_, err = lease.Fence(ctx)
		wantError(t, err, context.DeadlineExceeded)
		if errors.Is(err, cachify.ErrLockLost) {
			t.Errorf("error %v says that the lock is lost", err)
		}
		equal(t, "valid", lease.Valid(), true)
		r.store.set(nil)
		n := fence(t, lease)
		r.store.set(failing)
		equal(t, "known already", fence(t, lease), n)
		r.store.set(nil)
		noError(t, lease.Release(ctx))

		slot := cachify.Must(newSemaphore(r.client, 1, nil).TryAcquire(ctx, 1))
		_, err = slot.Fence(ctx)
		wantMessage(t, err, "semaphore")
		noError(t, slot.Release(ctx))
		_, err = cachify.NewSemaphore[int](r.client, "f-<n>", 1, &cachify.LockOptions{Fenced: true})
		wantMessage(t, err, "LockOptions.Fenced")
	})
}

func TestFencedTakesTheTokenWithTheLock(t *testing.T) {
	inRig(t, cachify.LockOptions{Fenced: true}, func(t *testing.T, r *rig) {
		lease := try(t, r.lock)
		r.store.set(failingOnly("Fence"))
		last := fence(t, lease)
		for range 10 {
			waits := acquire(t.Context(), r.lock)
			synctest.Wait()
			noError(t, lease.Release(t.Context()))
			lease = leased(t, waits)
			n := fence(t, lease)
			if n <= last {
				t.Errorf("fencing token %d after %d", n, last)
			}
			last = n
		}
		equal(t, "calls of Fence", r.store.count("Fence"), 0)
		noError(t, lease.Release(t.Context()))
	})
}

// What Redis has forgotten, and a clock that was set back, don't take fencing tokens back.
func TestFencingTokensOnRedis(t *testing.T) {
	rdb, m := redistest.Mini(t)
	now := time.Now()
	lock := newLock(newClient(t, cachify.Redis(rdb), &cachify.Options{Prefix: "app:"}), nil)
	last := int64(0)
	next := func(how string) {
		t.Helper()
		lease := try(t, lock)
		n := fence(t, lease)
		if n <= last {
			t.Errorf("%s: fencing token %d after %d", how, n, last)
		}
		last = n
		noError(t, lease.Release(t.Context()))
	}
	for range 3 {
		m.SetTime(now)
		next("the clock stands still")
		m.SetTime(now.Add(-time.Hour))
		next("the clock was set back")
		m.SetTime(now.Add(time.Hour))
		next("the clock goes on")
		now = now.Add(time.Hour)
	}
	m.FlushAll()
	now = now.Add(time.Microsecond * 100)
	m.SetTime(now)
	next("all is forgotten")
	m.FastForward(25 * time.Hour)
	equal(t, "keys a day after", len(m.Keys()), 0)
}
