package cachify_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A lockTest is a Once in a bubble of fake time, over a store that can be made to fail.
type lockTest struct {
	puppet
	store *faultyStore
	key   string
	once  *cachify.Once[int, string]
}

const lockTTL = 3 * time.Second

func inBubble(t *testing.T, opts cachify.OnceOptions, test func(t *testing.T, l *lockTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lockTest{store: &faultyStore{Store: cachify.Memory()}}
		c := newClient(t, l.store, &cachify.Options{OpTimeout: lockTTL / 10})
		if opts.TTL == 0 {
			opts.TTL = lockTTL
		}
		l.puppet = newPuppet(t)
		l.once = newOnce(c, l.fn, &opts)
		l.key = cachify.Must(l.once.Key(1))
		test(t, l)
	})
}

// held looks into the store, whatever is between it and the client.
func (l *lockTest) held(t *testing.T) bool {
	t.Helper()
	values, _, err := l.store.Store.Get(t.Context(), []string{l.key}, nil, nil)
	noError(t, err)
	return values[0] != nil
}

// lost waits for the function's ctx to end, checks its cause, and says when that was.
func (r *run) lost(t *testing.T) time.Time {
	t.Helper()
	receive(t, "the end of the function's ctx", r.ctx.Done())
	if cause := context.Cause(r.ctx); !errors.Is(cause, cachify.ErrLockLost) {
		t.Fatalf("the function's ctx ended with cause %v, want ErrLockLost", cause)
	}
	return time.Now()
}

func TestLockIsRenewedWhileTheFunctionRuns(t *testing.T) {
	inBubble(t, cachify.OnceOptions{}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		for range 60 {
			time.Sleep(lockTTL / 3)
			wantError(t, (<-do(t.Context(), l.once)).err, cachify.ErrLocked)
		}
		noError(t, r.ctx.Err())
		time.Sleep(lockTTL / 7) // not when a renewal is due
		r.returns("after 20 TTLs")
		gives(t, first, "after 20 TTLs")
		equal(t, "held", l.held(t), false)
		renewals := l.store.count("Extend")
		time.Sleep(time.Hour)
		equal(t, "renewals after the end", l.store.count("Extend")-renewals, 0)
	})
}

// A function may take its time after its caller has gone. Nobody else may run until it has returned.
func TestLockIsRenewedAfterTheCallerHasGone(t *testing.T) {
	inBubble(t, cachify.OnceOptions{}, func(t *testing.T, l *lockTest) {
		ctx, cancel := context.WithCancel(t.Context())
		first := do(ctx, l.once)
		r := l.next(t)
		cancel()
		time.Sleep(3 * lockTTL)
		equal(t, "held while the function runs", l.held(t), true)
		r.returns("cleaned up")
		gives(t, first, "cleaned up")
		equal(t, "held", l.held(t), false)
	})
}

func TestNoRenew(t *testing.T) {
	inBubble(t, cachify.OnceOptions{NoRenew: true}, func(t *testing.T, l *lockTest) {
		start := time.Now()
		first := do(t.Context(), l.once)
		r := l.next(t)
		took := r.lost(t).Sub(start)
		if took >= lockTTL || took < lockTTL*8/10 {
			t.Errorf("the ctx ended after %v of %v", took, lockTTL)
		}
		equal(t, "held when the ctx ends", l.held(t), true)
		equal(t, "renewals", l.store.count("Extend"), 0)
		time.Sleep(lockTTL)
		second := do(t.Context(), l.once)
		r2 := l.next(t)
		r.fails(errDown)
		got := <-first
		wantError(t, got.err, cachify.ErrLockLost)
		wantError(t, got.err, errDown)
		equal(t, "the next holder's lock is there", l.held(t), true)
		r2.returns("second")
		gives(t, second, "second")
	})
}

func TestKeepOfALostLock(t *testing.T) {
	inBubble(t, cachify.OnceOptions{NoRenew: true, Keep: true}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		time.Sleep(2 * lockTTL)
		r.returns("v")
		got := <-first
		wantError(t, got.err, cachify.ErrLockLost)
		equal(t, "value", got.value, "v")
		equal(t, "held", l.held(t), false)
	})
}

func TestLockIsLostBeforeItExpires(t *testing.T) {
	for name, fault := range map[string]fault{"failing": failing, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			// The outage begins at each point of the cycle of renewals.
			for phase := time.Duration(0); phase < lockTTL; phase += lockTTL / 12 {
				inBubble(t, cachify.OnceOptions{}, func(t *testing.T, l *lockTest) {
					first := do(t.Context(), l.once)
					r := l.next(t)
					time.Sleep(4*lockTTL + phase)
					l.store.set(fault)
					start := time.Now()
					took := r.lost(t).Sub(start)
					equal(t, "held when the ctx ends", l.held(t), true)
					if took < lockTTL/2 {
						t.Errorf("given up after %v of an outage", took)
					}
					time.Sleep(lockTTL/10 + 1) // the margin
					equal(t, "held by the TTL's end", l.held(t), false)
					l.store.set(nil)
					r.returns("v")
					got := <-first
					wantError(t, got.err, cachify.ErrLockLost)
					equal(t, "value", got.value, "v")
				})
			}
		})
	}
}

func TestLockOutlivesAShortOutage(t *testing.T) {
	inBubble(t, cachify.OnceOptions{}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		for range 10 {
			l.store.set(failing)
			time.Sleep(lockTTL / 3)
			l.store.set(nil)
			time.Sleep(lockTTL)
		}
		noError(t, r.ctx.Err())
		r.returns("v")
		gives(t, first, "v")
	})
}

func TestForcedReleaseIsSeenAtTheNextRenewal(t *testing.T) {
	inBubble(t, cachify.OnceOptions{}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		time.Sleep(5*lockTTL + lockTTL/7)
		noError(t, l.once.Release(t.Context(), 1))
		start := time.Now()
		second := do(t.Context(), l.once)
		r2 := l.next(t)
		if took := r.lost(t).Sub(start); took > lockTTL/3 {
			t.Errorf("seen after %v", took)
		}
		r.returns("first")
		got := <-first
		wantError(t, got.err, cachify.ErrLockLost)
		equal(t, "value", got.value, "first")
		equal(t, "the next holder's lock is there", l.held(t), true)
		time.Sleep(2 * lockTTL)
		noError(t, r2.ctx.Err())
		r2.returns("second")
		gives(t, second, "second")
	})
}

func TestLockWithoutExpiry(t *testing.T) {
	inBubble(t, cachify.OnceOptions{TTL: cachify.NoExpiry, Keep: true}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		time.Sleep(10 * 365 * 24 * time.Hour)
		noError(t, r.ctx.Err())
		wantError(t, (<-do(t.Context(), l.once)).err, cachify.ErrLocked)
		r.returns("v")
		gives(t, first, "v")
		time.Sleep(10 * 365 * 24 * time.Hour)
		equal(t, "held for ever", l.held(t), true)
		equal(t, "renewals", l.store.count("Extend"), 0)
		noError(t, l.once.Release(t.Context(), 1))
		equal(t, "held", l.held(t), false)
	})
}

func TestOnceFailsClosed(t *testing.T) {
	for name, fault := range map[string]fault{"failing": failing, "hanging": hanging} {
		for _, wait := range []time.Duration{0, time.Minute} {
			t.Run(name+", wait "+wait.String(), func(t *testing.T) {
				inBubble(t, cachify.OnceOptions{Wait: wait}, func(t *testing.T, l *lockTest) {
					l.store.set(fault)
					for range 10 { // the breaker is for cached functions alone
						for _, o := range []*cachify.Once[int, string]{l.once, l.once.ReturnOnLocked("locked")} {
							start := time.Now()
							got := <-do(t.Context(), o)
							if got.err == nil || got.value != "" || errors.Is(got.err, cachify.ErrLocked) {
								t.Fatalf("got %q, %v, want the store's error", got.value, got.err)
							}
							wantMessage(t, got.err, l.key)
							if took := time.Since(start); took > wait+lockTTL/10 {
								t.Errorf("Do took %v", took)
							}
						}
						_, err := l.once.IsLocked(t.Context(), 1)
						wantMessage(t, err, l.key)
						wantMessage(t, l.once.Release(t.Context(), 1), l.key)
					}
					l.idle(t)
					l.store.set(nil)
					works := do(t.Context(), l.once)
					l.next(t).returns("v")
					gives(t, works, "v")
				})
			})
		}
	}
}

func TestOnceWaitsThroughAShortOutage(t *testing.T) {
	inBubble(t, cachify.OnceOptions{Wait: time.Minute}, func(t *testing.T, l *lockTest) {
		l.store.set(failing)
		waits := do(t.Context(), l.once)
		time.Sleep(time.Second)
		l.idle(t)
		l.store.set(nil)
		l.next(t).returns("v")
		gives(t, waits, "v")
	})
}

// lostReplies are locks that are taken in the store without the client learning of it.
func lostReplies(ctx context.Context, op string, do func() error) error {
	err := do()
	if op == "Lock" {
		<-ctx.Done()
		return errDown
	}
	return err
}

func TestAnAttemptWhoseReplyWasLostIsUndone(t *testing.T) {
	for name, opts := range map[string]cachify.OnceOptions{"": {}, "without expiry": {TTL: cachify.NoExpiry}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, opts, func(t *testing.T, l *lockTest) {
				attempt := func() {
					t.Helper()
					wantError(t, (<-do(t.Context(), l.once)).err, errDown)
					l.idle(t)
					synctest.Wait()
				}
				l.store.set(lostReplies)
				attempt()
				equal(t, "held by nobody", l.held(t), false)

				// It goes on trying while the store is down.
				l.store.set(func(ctx context.Context, op string, do func() error) error {
					if op == "Unlock" {
						return errDown
					}
					return lostReplies(ctx, op, do)
				})
				attempt()
				time.Sleep(lockTTL / 2)
				equal(t, "held by nobody", l.held(t), true)
				l.store.set(nil)
				time.Sleep(2 * time.Second)
				equal(t, "held by nobody", l.held(t), false)
			})
		})
	}
}

func TestOnceWaitsThroughLostReplies(t *testing.T) {
	inBubble(t, cachify.OnceOptions{Wait: time.Minute, TTL: time.Hour}, func(t *testing.T, l *lockTest) {
		l.store.set(lostReplies)
		waits := do(t.Context(), l.once)
		time.Sleep(10 * time.Second)
		l.idle(t)
		l.store.set(nil)
		time.Sleep(time.Second)
		l.next(t).returns("v")
		gives(t, waits, "v")
		equal(t, "held", l.held(t), false)
	})
}

// An attempt may find the lock that an earlier one has taken without learning of it. It counts from the later one then.
func TestALockTakenUnawaresLivesForItsWholeTTL(t *testing.T) {
	inBubble(t, cachify.OnceOptions{Wait: time.Minute, NoRenew: true}, func(t *testing.T, l *lockTest) {
		l.store.set(lostReplies)
		waits := do(t.Context(), l.once)
		time.Sleep(lockTTL / 2)
		l.store.set(nil)
		r := l.next(t)
		began := time.Now()
		took := r.lost(t).Sub(began)
		equal(t, "held when the ctx ends", l.held(t), true)
		if took < lockTTL*8/10 {
			t.Errorf("the ctx ended after %v of %v", took, lockTTL)
		}
		r.returns("v")
		wantError(t, (<-waits).err, cachify.ErrLockLost)
	})
}

// A server that is out of memory refuses locks and still does releases. What undoes failed attempts must not wake those
// who wait: each would try at once, fail, and wake all the others.
func TestFailedAttemptsDoNotWakeWaiters(t *testing.T) {
	const waiters, wait, attempts = 5, 10 * time.Second, 600 // of polling alone at most, see pollMax
	inBubble(t, cachify.OnceOptions{Wait: wait}, func(t *testing.T, l *lockTest) {
		l.store.set(func(ctx context.Context, op string, do func() error) error {
			switch {
			case op != "Lock":
				return do()
			case l.store.count("Lock") > 10*attempts:
				return hanging(ctx, op, do) // or this test would go on for ever
			}
			return errDown
		})
		var calls []<-chan result[string]
		for range waiters {
			calls = append(calls, do(t.Context(), l.once))
		}
		for _, call := range calls {
			if err := (<-call).err; err == nil {
				t.Error("no error from a store that fails")
			}
		}
		if n := l.store.count("Lock"); n > attempts {
			t.Errorf("%d callers made more than %d attempts in %v", waiters, n, wait)
		}
	})
}

func TestAReleaseWakesWhoWaits(t *testing.T) {
	inBubble(t, cachify.OnceOptions{Wait: time.Hour}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		second := do(t.Context(), l.once)
		time.Sleep(time.Minute + time.Millisecond)
		released := time.Now()
		r.returns("first")
		gives(t, first, "first")
		l.next(t).returns("second")
		gives(t, second, "second")
		equal(t, "the hand-over took", time.Since(released), 0)
	})
}

func TestAnAttemptThatTookLongerThanTheTTLIsNoLock(t *testing.T) {
	inBubble(t, cachify.OnceOptions{TTL: 100 * time.Millisecond}, func(t *testing.T, l *lockTest) {
		l.store.set(func(_ context.Context, op string, do func() error) error {
			if op == "Lock" {
				defer time.Sleep(95 * time.Millisecond) // within the margin of its end
			}
			return do()
		})
		wantMessage(t, (<-do(t.Context(), l.once)).err, "use a longer one")
		l.idle(t)
		synctest.Wait()
		equal(t, "held by nobody", l.held(t), false)
	})
}

func TestAReleaseThatCannotReachTheStoreIsTriedAgain(t *testing.T) {
	inBubble(t, cachify.OnceOptions{TTL: time.Hour}, func(t *testing.T, l *lockTest) {
		first := do(t.Context(), l.once)
		r := l.next(t)
		l.store.set(failing)
		r.returns("v")
		gives(t, first, "v") // the function has run, and the lock was held all the time
		time.Sleep(time.Minute)
		equal(t, "held", l.held(t), true)
		l.store.set(nil)
		time.Sleep(3 * time.Second)
		equal(t, "held", l.held(t), false)
	})
}

// The lock is gone and another one is at its place: no release and no renewal of the first touches it.
func TestNothingTouchesTheNextHoldersLock(t *testing.T) {
	for name, opts := range map[string]cachify.OnceOptions{"renewed": {}, "not renewed": {NoRenew: true}, "without expiry": {TTL: cachify.NoExpiry}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, opts, func(t *testing.T, l *lockTest) {
				ctx := t.Context()
				first := do(ctx, l.once)
				r := l.next(t)
				_, err := l.store.Store.Delete(ctx, nil, []string{l.key})
				noError(t, err)
				_, taken, err := l.store.Store.Lock(ctx, cachify.Claim{Keys: []string{l.key}, Token: "next holder", TTL: 10 * time.Second}, "")
				noError(t, err)
				equal(t, "taken", taken, true)
				time.Sleep(9 * time.Second) // the first one's renewal does not prolong it
				r.returns("v")
				wantError(t, (<-first).err, cachify.ErrLockLost)
				equal(t, "the next holder's lock is there", l.held(t), true)
				time.Sleep(time.Second)
				equal(t, "the next holder's lock is there after its TTL", l.held(t), false)
			})
		})
	}
}
