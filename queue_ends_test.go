package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// The error at the end of a wait is that of the last attempt: the store's own, or ErrLocked, with that of the ctx if that was the end.
func TestErrorsAtTheEndOfAWait(t *testing.T) {
	const wait, long = 100 * time.Millisecond, 10 * time.Second
	down := func(f fault, after time.Duration) func(*rig) {
		return func(r *rig) { time.AfterFunc(after, func() { r.store.set(f) }) }
	}
	tests := map[string]struct {
		held   bool
		wait   time.Duration
		ctx    time.Duration // 0: none
		fault  func(*rig)
		locked bool
		ended  bool // with the ctx' error
	}{
		"locked":                              {true, wait, 0, func(*rig) {}, true, false},
		"locked, by the ctx":                  {true, 0, wait, func(*rig) {}, true, true},
		"locked, by the ctx before the wait":  {true, long, wait, func(*rig) {}, true, true},
		"failing":                             {false, wait, 0, func(r *rig) { r.store.set(failing) }, false, false},
		"failing, by the ctx":                 {false, 0, wait, func(r *rig) { r.store.set(failing) }, false, true},
		"failing, for long":                   {false, long, 0, func(r *rig) { r.store.set(failing) }, false, false},
		"hanging":                             {false, wait, 0, func(r *rig) { r.store.set(hanging) }, false, false},
		"hanging, by the ctx":                 {false, 0, wait, func(r *rig) { r.store.set(hanging) }, false, true},
		"hanging, for long":                   {false, long, 0, func(r *rig) { r.store.set(hanging) }, false, false},
		"hanging, by the ctx, for long":       {false, 0, long, func(r *rig) { r.store.set(hanging) }, false, true},
		"locked, later failing":               {true, long, 0, down(failing, time.Second), false, false},
		"locked, later hanging":               {true, long, 0, down(hanging, time.Second), false, false},
		"failing, later locked":               {true, long, 0, func(r *rig) { r.store.set(failing); down(nil, time.Second)(r) }, true, false},
		"hanging, later locked, by the ctx":   {true, 0, long, func(r *rig) { r.store.set(hanging); down(nil, time.Second)(r) }, true, true},
		"a hiccup just before the wait's end": {true, long, 0, down(failing, long-time.Millisecond), true, false},
	}
	for name, test := range tests {
		for _, second := range []bool{false, true} { // who waits behind another, learns what that one does
			t.Run(fmt.Sprintf("%s, second %v", name, second), func(t *testing.T) {
				inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
					// In an outage there are no notifications either.
					c := newClient(t, deafStore{r.store}, &cachify.Options{OpTimeout: 300 * time.Millisecond})
					if test.held {
						holder := try(t, r.other(t, cachify.LockOptions{TTL: time.Hour}))
						defer func() { noError(t, holder.Release(context.WithoutCancel(t.Context()))) }()
					}
					test.fault(r)
					var before <-chan result[*cachify.Lease]
					if second {
						ctx, cancel := context.WithTimeout(t.Context(), 2*long)
						defer cancel()
						before = acquire(ctx, newLock(c, &cachify.LockOptions{TTL: lockTTL}))
						time.Sleep(10 * time.Millisecond)
					}
					ctx, cancel := t.Context(), func() {}
					if test.ctx > 0 {
						ctx, cancel = context.WithTimeout(ctx, test.ctx)
					}
					defer cancel()
					began := time.Now()
					_, err := newLock(c, &cachify.LockOptions{TTL: lockTTL, Wait: test.wait}).Acquire(ctx, 1)
					took := time.Since(began)
					if err == nil {
						t.Fatal("no error")
					}
					if took > max(test.wait, test.ctx) || took < min(test.wait+test.ctx, wait) {
						t.Errorf("Acquire took %v", took)
					}
					equal(t, fmt.Sprintf("%q is ErrLocked", err), errors.Is(err, cachify.ErrLocked), test.locked)
					equal(t, fmt.Sprintf("%q is the ctx'", err), ctx.Err() != nil && errors.Is(err, ctx.Err()), test.ended)
					if !test.locked {
						wantMessage(t, err, r.key)
					}
					r.store.set(nil)
					if second {
						<-before
					}
				})
			})
		}
	}
}

// A failure that has passed is not what a waiter is told of when its time is over.
func TestAFailureThatHasPassedIsForgotten(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		r.store.set(failing)
		first := acquire(t.Context(), r.lock)
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		second := acquire(ctx, r.lock)
		time.Sleep(10 * time.Second)
		r.store.set(nil)
		lease := leased(t, first)
		cancel()
		err := (<-second).err
		wantError(t, err, cachify.ErrLocked)
		wantError(t, err, context.Canceled)
		equal(t, "the error is the store's", errors.Is(err, errDown), false)
		noError(t, lease.Release(t.Context()))
	})
}

// uncancellable calls hang as those of a client do that notices deadlines but not that a ctx is cancelled.
func uncancellable(ctx context.Context, _ string, _ func() error) error {
	deadline, _ := ctx.Deadline()
	time.Sleep(time.Until(deadline))
	return context.DeadlineExceeded
}

// Whatever a caller is at, it comes back in the moment it is cancelled, and leaves nothing.
func TestACancelledCallerIsBackAtOnce(t *testing.T) {
	only := func(op string) fault {
		return func(ctx context.Context, is string, do func() error) error {
			if is == op {
				return uncancellable(ctx, is, do)
			}
			return do()
		}
	}
	type call = func(context.Context, *cachify.Client) error
	calls := map[string]call{
		"TryAcquire": func(ctx context.Context, c *cachify.Client) error {
			_, err := newLock(c, nil).TryAcquire(ctx, 1)
			return err
		},
		"Acquire": func(ctx context.Context, c *cachify.Client) error {
			_, err := newLock(c, nil).Acquire(ctx, 1)
			return err
		},
		"AcquireMany": func(ctx context.Context, c *cachify.Client) error {
			_, err := newLock(c, nil).AcquireMany(ctx, []int{1, 2})
			return err
		},
		"Semaphore": func(ctx context.Context, c *cachify.Client) error {
			_, err := newSemaphore(c, 1, nil).Acquire(ctx, 1)
			return err
		},
		"Once": func(ctx context.Context, c *cachify.Client) error {
			_, err := newOnce(c, func(context.Context, int) (int, error) {
				return 0, errors.New("the function ran")
			}, &cachify.OnceOptions{Wait: time.Hour}).Do(ctx, 1)
			return err
		},
	}
	for name, call := range calls {
		for _, op := range []string{"Lock", "Get", "Holders"} {
			for _, held := range []bool{false, true} {
				for _, second := range []bool{false, true} {
					if held && name == "TryAcquire" || !held && op != "Lock" {
						continue // it does not get that far
					}
					t.Run(fmt.Sprintf("%s, %s hangs, held %v, second %v", name, op, held, second), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) {
							store := &faultyStore{Store: cachify.Memory()}
							c := newClient(t, store, &cachify.Options{OpTimeout: time.Minute})
							if held {
								other := newClient(t, store.Store, nil)
								held := []*cachify.Lease{try(t, newLock(other, nil)), cachify.Must(newSemaphore(other, 1, nil).TryAcquire(t.Context(), 1))}
								_, _, err := store.Store.Lock(t.Context(), cachify.Claim{Keys: []string{"once:job-1"}, Token: "another's", TTL: time.Hour}, "")
								noError(t, err)
								defer func() {
									for _, l := range held {
										noError(t, l.Release(t.Context()))
									}
								}()
							}
							store.set(only(op))
							before, leave := context.WithCancel(t.Context())
							first := make(chan error, 1)
							first <- nil
							if second {
								<-first
								go func() { first <- call(before, c) }()
								time.Sleep(10 * time.Millisecond)
							}
							for ahead := range 50 { // at all points of the cycle of attempts
								ctx, cancel := context.WithCancel(t.Context())
								ended := async(func() (bool, error) { return true, call(ctx, c) })
								time.Sleep(time.Duration(ahead) * 99 * time.Millisecond)
								began := time.Now()
								cancel()
								wantError(t, (<-ended).err, context.Canceled)
								if took := time.Since(began); took > 0 {
									t.Errorf("after %v of waiting it came back %v after it was cancelled", time.Duration(ahead)*99*time.Millisecond, took)
									break
								}
							}
							leave()
							<-first
							store.set(nil)
							time.Sleep(time.Hour)
							for _, key := range []string{"lock:job-1", "lock:job-2", "once:job-1"} {
								tokens, _, err := store.Store.Holders(t.Context(), key, false)
								noError(t, err)
								if len(tokens) > 0 && !(held && key == "lock:job-1") {
									t.Errorf("%s is held by %q", key, tokens)
								}
							}
						})
					})
				}
			}
		}
	}
}
