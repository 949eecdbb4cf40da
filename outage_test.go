package cachify_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func TestOutage(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for name, fault := range map[string]fault{"failing": failing, "hanging": hanging} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &faultyStore{Store: cachify.Memory()}
				var logged logBuffer
				c := newClient(t, store, &cachify.Options{OpTimeout: timeout, Logger: logged.logger()})
				f := newCached(c, square, nil)
				store.set(fault)
				slow := 0
				for i := range 50 {
					start := time.Now()
					v, err := f.Get(ctx, 7)
					noError(t, err)
					equal(t, "value", v, 49)
					took := time.Since(start)
					if took > timeout {
						t.Fatalf("Get %d took %v", i, took)
					}
					if took > 0 {
						slow++
					}
				}
				if n := store.count("Lease"); n < 2 || n > 5 || slow > 5 {
					t.Errorf("%d calls went to the store, %d of them waited for it", n, slow)
				}
				if s := c.Stats(); !s.BreakerOpen || s.Outages != 1 || s.Bypasses != 50 || s.Loads != 50 || s.StoreErrors == 0 {
					t.Errorf("%+v", s)
				}
				asked := store.count("Lease")
				time.Sleep(time.Hour) // nobody but the probe asks the store
				equal(t, "records of the outage", logged.count("the store fails"), 1)
				equal(t, "breaker open", c.Stats().BreakerOpen, true)

				store.set(nil)
				time.Sleep(2 * time.Second)
				equal(t, "breaker open", c.Stats().BreakerOpen, false)
				equal(t, "records of its end", logged.count("answers again"), 1)
				equal(t, "calls during the outage", store.count("Lease"), asked)
				for range 3 {
					_, err := f.Get(ctx, 7)
					noError(t, err)
				}
				if s := c.Stats(); s.Loads != 51 || s.Hits != 2 || s.Outages != 1 {
					t.Errorf("%+v: caching should have resumed", s)
				}
			})
		})
	}
}

// Whatever the operation that fails, callers of cached functions do not see it.
func TestCallersNeverSeeTheStoresErrors(t *testing.T) {
	for _, op := range []string{"Get", "Lease", "Set", "Expire", "Delete", "Advance"} {
		for name, fault := range map[string]fault{"fails": failing, "hangs": hanging} {
			t.Run(op+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, failure := t.Context(), errors.New("no such row")
					store := &faultyStore{Store: cachify.Memory()}
					c := newClient(t, store, &cachify.Options{OpTimeout: time.Second})
					f := newCached(c, func(ctx context.Context, n int) (int, error) {
						cachify.AddTags(ctx, "added")
						if n < 0 {
							return 0, failure
						}
						return n, nil
					}, &cachify.CachedOptions{Tags: []string{"tag-<n>"}})
					noError(t, f.ResetAll(ctx))
					_, err := f.Get(ctx, 1)
					noError(t, err)
					noError(t, c.ResetTags(ctx, "tag-1", "another"))
					store.set(func(ctx context.Context, is string, do func() error) error {
						if is == op {
							return fault(ctx, is, do)
						}
						return do()
					})
					for range 3 {
						for _, n := range []int{1, 2, 3} {
							for name, call := range map[string]func(context.Context, int) (int, error){"Get": f.Get, "Refresh": f.Refresh} {
								start := time.Now()
								v, err := call(ctx, n)
								noError(t, err)
								equal(t, name, v, n)
								if took := time.Since(start); took > time.Second {
									t.Errorf("%s took %v", name, took)
								}
							}
							vs, err := f.GetMany(ctx, []int{n})
							noError(t, err)
							equal(t, "GetMany", vs[0], n)
						}
						if _, err := f.Get(ctx, -1); err != failure { // it must be the very error
							t.Errorf("error %v, want the function's own", err)
						}
					}
				})
			})
		}
	}
}

func TestSingleFlightInAnOutage(t *testing.T) {
	const timeout = time.Second
	for name, breakerOpen := range map[string]bool{"at its beginning": false, "with the breaker open": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &faultyStore{Store: cachify.Memory()}
				store.set(hanging)
				c := newClient(t, store, &cachify.Options{OpTimeout: timeout})
				p := newPuppet(t)
				f := newCached(c, p.fn, nil)
				get := func(ctx context.Context) <-chan result[string] {
					return async(func() (string, error) { return f.Get(ctx, 1) })
				}
				for c.Stats().BreakerOpen != breakerOpen {
					_, _, err := f.Peek(ctx, 1)
					wantError(t, err, context.DeadlineExceeded)
				}
				var calls []<-chan result[string]
				for range 50 {
					calls = append(calls, get(ctx))
				}
				time.Sleep(2 * timeout)
				left, leave := context.WithCancel(ctx)
				leaver := get(left)
				synctest.Wait()
				leave()
				wantError(t, (<-leaver).err, context.Canceled)
				r := p.next(t)
				p.idle(t)
				r.returns("v")
				for _, call := range calls {
					gives(t, call, "v")
				}
				p.idle(t)
			})
		})
	}
}

// What a caller's own ctx ends says nothing about the store.
func TestCallersContextsDoNotOpenTheBreaker(t *testing.T) {
	const timeout = time.Second
	contexts := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(timeout-1, cancel)
			return ctx, cancel
		},
		"a short deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, timeout/10)
		},
	}
	for name, withEnd := range contexts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &faultyStore{Store: cachify.Memory()}
				store.set(func(ctx context.Context, op string, do func() error) error {
					if op == "Get" || op == "Lease" { // as if the answer came too late
						return errors.Join(do(), hanging(ctx, op, do))
					}
					return do()
				})
				c := newClient(t, store, &cachify.Options{OpTimeout: timeout})
				f := newCached(c, square, nil)
				for name, call := range map[string]func(context.Context) error{
					"Get":  func(ctx context.Context) error { _, err := f.Get(ctx, 1); return err },
					"Peek": func(ctx context.Context) error { _, _, err := f.Peek(ctx, 1); return err },
				} {
					for range 10 {
						ctx, cancel := withEnd(t.Context())
						if err := call(ctx); err == nil || !errors.Is(err, ctx.Err()) {
							t.Errorf("%s: error %v, want that of the ctx, %v", name, err, ctx.Err())
						}
						cancel()
					}
				}
				if s := c.Stats(); s.BreakerOpen || s.Loads != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestAHangingStoreLeavesHalfOfADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		store.set(hanging)
		f := newCached(newClient(t, store, &cachify.Options{OpTimeout: 3 * time.Second}), square, nil)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		v, err := f.Get(ctx, 3)
		noError(t, err)
		equal(t, "value", v, 9)
		equal(t, "Get took", time.Since(start), time.Second)
	})
}
