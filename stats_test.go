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

func TestStats(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		f, was := p.hereCached, cachify.Stats{}
		// step compares what has been counted since the last one.
		step := func(what string, want cachify.Stats) {
			t.Helper()
			is := p.here.Stats()
			got := is
			got.Hits -= was.Hits
			got.Misses -= was.Misses
			got.Loads -= was.Loads
			got.LoadErrors -= was.LoadErrors
			got.LoadTime = 0
			got.Waits -= was.Waits
			got.Dropped -= was.Dropped
			got.Bypasses -= was.Bypasses
			got.Resets -= was.Resets
			got.InvalidationsSent -= was.InvalidationsSent
			was = is
			if got != want {
				t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, want)
			}
		}
		step("nothing", cachify.Stats{})
		leader := p.get(ctx)
		r := p.next(t)
		waiter := p.get(ctx)
		p.waiting(t, 1, 0)
		r.returns("v")
		gives(t, leader, "v")
		gives(t, waiter, "v")
		step("a load and a waiter", cachify.Stats{Misses: 2, Loads: 1, Waits: 1})
		gives(t, p.get(ctx), "v")
		_, err := f.GetMany(ctx, []int{1, 1})
		noError(t, err)
		step("hits", cachify.Stats{Hits: 2})
		old := async(func() (string, error) { return f.Refresh(ctx, 1) })
		r = p.next(t)
		noError(t, f.Reset(ctx, 1))
		r.returns("old")
		gives(t, old, "old")
		step("a refresh overtaken by a Reset", cachify.Stats{Loads: 1, Resets: 1, InvalidationsSent: 1, Dropped: 1})
		failed := p.get(ctx)
		p.next(t).fails(errDown)
		wantError(t, receive(t, "an error", failed).err, errDown)
		step("a load that fails", cachify.Stats{Misses: 1, Loads: 1, LoadErrors: 1})
		theirs := p.getThere(ctx)
		r = p.next(t)
		mine := p.get(ctx)
		p.waiting(t, 2, 0)
		r.returns("theirs")
		gives(t, mine, "theirs")
		gives(t, theirs, "theirs")
		step("a wait for another process", cachify.Stats{Misses: 1, Waits: 1})
		noError(t, f.ResetAll(ctx))
		noError(t, p.here.ResetTags(ctx, "a", "b"))
		step("resets", cachify.Stats{Resets: 2, InvalidationsSent: 2})
		noError(t, f.Put(ctx, 1, "v"))
		noError(t, f.PutMany(ctx, []int{1, 2}, []string{"v", "w"}))
		noError(t, f.ResetMany(ctx, []int{1, 2, 3}))
		step("Put and many", cachify.Stats{Resets: 3, InvalidationsSent: 6})
	})
}

func TestStatsCountTheTimeOfLoads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, cachify.Memory(), nil)
		f := newCached(c, func(_ context.Context, n int) (int, error) {
			time.Sleep(time.Duration(n) * time.Second)
			return n, nil
		}, nil)
		_, err := f.GetMany(t.Context(), []int{3, 4})
		noError(t, err)
		equal(t, "LoadTime", c.Stats().LoadTime, 7*time.Second)
	})
}

var errDown = errors.New("the store is down")

// A fault stands between a client and its store for one operation, which is done by calling do.
type fault func(ctx context.Context, op string, do func() error) error

func failing(context.Context, string, func() error) error { return errDown }

func hanging(ctx context.Context, _ string, _ func() error) error {
	<-ctx.Done()
	return ctx.Err()
}

// failingOnly fails the given operations.
func failingOnly(ops ...string) fault {
	return func(_ context.Context, op string, do func() error) error {
		for _, failing := range ops {
			if op == failing {
				return errDown
			}
		}
		return do()
	}
}

// A faultyStore counts the operations on a store, and fails or delays them at will.
type faultyStore struct {
	cachify.Store
	mu    sync.Mutex
	fault fault
	calls map[string]int
}

func (s *faultyStore) set(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// count gives the number of operations of this kind so far.
func (s *faultyStore) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *faultyStore) do(ctx context.Context, op string, do func() error) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[op]++
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return do()
	}
	return fault(ctx, op, do)
}

func (s *faultyStore) Get(ctx context.Context, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	err = s.do(ctx, "Get", func() (err error) { values, stamps, err = s.Store.Get(ctx, keys, tags, left); return err })
	return values, stamps, err
}

func (s *faultyStore) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	err = s.do(ctx, "Lease", func() (err error) { values, stamps, err = s.Store.Lease(ctx, lease, ttl, keys, tags, left); return err })
	return values, stamps, err
}

func (s *faultyStore) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) (done []bool, stamps []int64, err error) {
	err = s.do(ctx, "Set", func() (err error) { done, stamps, err = s.Store.Set(ctx, head, keys, values, ttls, tags); return err })
	return done, stamps, err
}

func (s *faultyStore) Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) (done []bool, err error) {
	err = s.do(ctx, "Expire", func() (err error) { done, err = s.Store.Expire(ctx, head, ttl, keys); return err })
	return done, err
}

func (s *faultyStore) Delete(ctx context.Context, head []byte, keys []string) (done []bool, err error) {
	err = s.do(ctx, "Delete", func() (err error) { done, err = s.Store.Delete(ctx, head, keys); return err })
	return done, err
}

func (s *faultyStore) Advance(ctx context.Context, ttl time.Duration, tags []string) (stamp int64, err error) {
	err = s.do(ctx, "Advance", func() (err error) { stamp, err = s.Store.Advance(ctx, ttl, tags); return err })
	return stamp, err
}

func (s *faultyStore) Lock(ctx context.Context, c cachify.Claim, from string) (fence int64, ok bool, err error) {
	op := "Lock"
	if from != "" {
		op = "HandOver"
	}
	err = s.do(ctx, op, func() (err error) { fence, ok, err = s.Store.Lock(ctx, c, from); return err })
	return fence, ok, err
}

func (s *faultyStore) Extend(ctx context.Context, claims []cachify.Claim) (done []bool, errs []error) {
	err := s.do(ctx, "Extend", func() error { done, errs = s.Store.Extend(ctx, claims); return errors.Join(errs...) })
	if err != nil && errs == nil {
		return make([]bool, len(claims)), slices.Repeat([]error{err}, len(claims))
	}
	return done, errs
}

func (s *faultyStore) Unlock(ctx context.Context, c cachify.Claim) (ok bool, err error) {
	err = s.do(ctx, "Unlock", func() (err error) { ok, err = s.Store.Unlock(ctx, c); return err })
	return ok, err
}

func (s *faultyStore) Fence(ctx context.Context, c cachify.Claim) (fence int64, ok bool, err error) {
	err = s.do(ctx, "Fence", func() (err error) { fence, ok, err = s.Store.Fence(ctx, c); return err })
	return fence, ok, err
}

func (s *faultyStore) Holders(ctx context.Context, key string, semaphore bool) (tokens []string, left []time.Duration, err error) {
	err = s.do(ctx, "Holders", func() (err error) { tokens, left, err = s.Store.Holders(ctx, key, semaphore); return err })
	return tokens, left, err
}

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

func TestResetThatCannotReachTheStore(t *testing.T) {
	type wrapper = *cachify.Cached[int, string]
	tests := map[string]struct {
		call func(ctx context.Context, c *cachify.Client, f wrapper) error
		ops  []string // that fail
	}{
		"Reset":                 {func(ctx context.Context, _ *cachify.Client, f wrapper) error { return f.Reset(ctx, 1) }, []string{"Delete"}},
		"ResetAll":              {func(ctx context.Context, _ *cachify.Client, f wrapper) error { return f.ResetAll(ctx) }, []string{"Advance"}},
		"ResetTags":             {func(ctx context.Context, c *cachify.Client, _ wrapper) error { return c.ResetTags(ctx, "tag-1") }, []string{"Advance"}},
		"ResetTags, added tags": {func(ctx context.Context, c *cachify.Client, _ wrapper) error { return c.ResetTags(ctx, "added") }, []string{"Advance"}},
		"Put":                   {func(ctx context.Context, _ *cachify.Client, f wrapper) error { return f.Put(ctx, 1, "put") }, []string{"Set", "Delete"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &faultyStore{Store: cachify.Memory()}
				c, other := newClient(t, store, nil), newClient(t, store.Store, nil)
				calls := 0
				fn := func(ctx context.Context, n int) (string, error) {
					calls++
					cachify.AddTags(ctx, "added")
					return fmt.Sprint("call ", calls), nil
				}
				opts := &cachify.CachedOptions{Tags: []string{"tag-<n>"}, TTL: 24 * time.Hour}
				f, g := newCached(c, fn, opts), newCached(other, fn, opts)
				_, err := f.Get(ctx, 1)
				noError(t, err)

				store.set(failingOnly(test.ops...))
				err = test.call(ctx, c, f)
				wantError(t, err, errDown)
				wantMessage(t, err, "")
				equal(t, "pending", c.Stats().PendingReset, 1)
				for i := range 3 { // this process does without the entry, others can't know
					v, err := f.Get(ctx, 1)
					noError(t, err)
					equal(t, "Get while the reset is pending", v, fmt.Sprint("call ", i+2))
					vs, err := f.GetMany(ctx, []int{1})
					noError(t, err)
					equal(t, "GetMany while the reset is pending", vs[0], fmt.Sprint("call ", i+3))
					calls--
				}
				_, ok, err := f.Peek(ctx, 1)
				noError(t, err)
				equal(t, "Peek sees it", ok, false)
				_, ok, err = g.Peek(ctx, 1)
				noError(t, err)
				equal(t, "still in the store", ok, true)
				time.Sleep(time.Hour)
				equal(t, "pending after an hour", c.Stats().PendingReset, 1)

				store.set(nil)
				time.Sleep(3 * time.Second)
				if s := c.Stats(); s.PendingReset != 0 || s.ResetRetries != 1 {
					t.Errorf("%+v: the reset should have been done", s)
				}
				_, ok, err = g.Peek(ctx, 1)
				noError(t, err)
				equal(t, "still in the store after the reset", ok, false)
			})
		})
	}
}

func TestResetInAnOutageTakesOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, &cachify.Options{OpTimeout: time.Second})
		f := newCached(c, square, nil)
		store.set(hanging)
		for name, call := range map[string]func() error{
			"Reset":     func() error { return f.Reset(t.Context(), 1) },
			"ResetAll":  func() error { return f.ResetAll(t.Context()) },
			"ResetTags": func() error { return c.ResetTags(t.Context(), "a") },
			"Put":       func() error { return f.Put(t.Context(), 1, 1) },
			"Peek":      func() error { _, _, err := f.Peek(t.Context(), 1); return err },
		} {
			start := time.Now()
			err := call()
			wantError(t, err, context.DeadlineExceeded)
			wantMessage(t, err, name)
			equal(t, name+" took", time.Since(start), time.Second)
		}
		store.set(nil)
	})
}

// Nobody joins a load without a lease that began before a reset in the same process.
func TestResetInAnOutageOvertakesLoads(t *testing.T) {
	resets := map[string]func(p *pair, ctx context.Context) error{
		"Reset":     func(p *pair, ctx context.Context) error { return p.hereCached.Reset(ctx, 1) },
		"ResetAll":  func(p *pair, ctx context.Context) error { return p.hereCached.ResetAll(ctx) },
		"ResetTags": func(p *pair, ctx context.Context) error { return p.here.ResetTags(ctx, "tag") },
	}
	for name, reset := range resets {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &faultyStore{Store: cachify.Memory()}
				p := newPair(t, store, &cachify.CachedOptions{Tags: []string{"tag"}})
				store.set(failing)
				for !p.here.Stats().BreakerOpen {
					_, _, _ = p.hereCached.Peek(ctx, 1)
				}
				old := p.get(ctx)
				oldRun := p.next(t)
				wantError(t, reset(p, ctx), errDown)
				reader := p.get(ctx)
				p.next(t).returns("new")
				gives(t, reader, "new")
				oldRun.returns("old")
				gives(t, old, "old")
				store.set(nil)
			})
		})
	}
}

// Where too many keys wait for their reset, the rest is reset by its wrapper.
func TestTooManyPendingResets(t *testing.T) {
	const keys = 11_000
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, &cachify.Options{TTL: cachify.NoExpiry})
		f := newCached(c, square, nil)
		for n := range keys {
			noError(t, f.Put(ctx, n, 0))
		}
		store.set(failing)
		for n := range keys {
			wantError(t, f.Reset(ctx, n), errDown)
		}
		if n := c.Stats().PendingReset; n > keys-900 {
			t.Errorf("%d resets are remembered", n)
		}
		store.set(nil)
		time.Sleep(time.Minute)
		equal(t, "pending", c.Stats().PendingReset, 0)
		for n := range keys {
			if _, ok, err := f.Peek(ctx, n); ok || err != nil {
				t.Fatalf("the entry for %d: %v, %v", n, ok, err)
			}
		}
	})
}

func TestCloseAndPendingResets(t *testing.T) {
	for name, back := range map[string]bool{"the store is back": true, "the store is still down": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &faultyStore{Store: cachify.Memory()}
				c, other := cachify.New(store, nil), newClient(t, store, nil)
				f, g := newCached(c, square, nil), newCached(other, square, nil)
				_, err := f.Get(ctx, 1)
				noError(t, err)
				store.set(failing)
				wantError(t, f.Reset(ctx, 1), errDown)
				wantError(t, c.ResetTags(ctx, "a", "b"), errDown)
				if back {
					store.set(nil)
					noError(t, c.Close())
				} else {
					err := c.Close()
					wantMessage(t, err, "3 resets could not reach the store")
					wantError(t, err, errDown)
					store.set(nil)
				}
				_, ok, err := g.Peek(ctx, 1)
				noError(t, err)
				equal(t, "the entry is still there", ok, !back)
			})
		})
	}
}
