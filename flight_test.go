package cachify_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A pair is two processes, as far as the store can tell, that wrap one puppet.
type pair struct {
	puppet
	here, there             *cachify.Client
	hereCached, thereCached *cachify.Cached[int, string]
}

func newPair(t *testing.T, store cachify.Store, opts *cachify.CachedOptions) *pair {
	p := &pair{here: newClient(t, store, nil), there: newClient(t, store, nil), puppet: newPuppet(t)}
	p.hereCached, p.thereCached = newCached(p.here, p.fn, opts), newCached(p.there, p.fn, opts)
	return p
}

func (p *pair) get(ctx context.Context) <-chan result[string] {
	return async(func() (string, error) { return p.hereCached.Get(ctx, 1) })
}

func (p *pair) getThere(ctx context.Context) <-chan result[string] {
	return async(func() (string, error) { return p.thereCached.Get(ctx, 1) })
}

// waiting waits until so many callers have joined.
func (p *pair) waiting(t *testing.T, here, there int64) {
	t.Helper()
	eventually(t, "all wait", func() bool { return p.here.Stats().Waits == here && p.there.Stats().Waits == there })
}

// stored checks what is in the store: "" is nothing.
func (p *pair) stored(t *testing.T, want string) {
	t.Helper()
	v, ok, err := p.thereCached.Peek(t.Context(), 1)
	noError(t, err)
	equal(t, "stored", v, want)
	equal(t, "anything stored", ok, want != "")
}

func TestOneLoadForAllCallers(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		calls := []<-chan result[string]{p.get(ctx)}
		r := p.next(t)
		for range 20 {
			calls = append(calls, p.get(ctx), p.getThere(ctx))
		}
		p.waiting(t, 20, 20)
		r.returns("loaded")
		for _, call := range calls {
			gives(t, call, "loaded")
		}
		p.idle(t)
		p.stored(t, "loaded")
	})
}

func TestErrorGoesToAllLocalWaiters(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx, failure := t.Context(), errors.New("no such row")
		p := newPair(t, store, nil)
		calls := []<-chan result[string]{p.get(ctx)}
		r := p.next(t)
		for range 5 {
			calls = append(calls, p.get(ctx))
		}
		elsewhere := p.getThere(ctx)
		p.waiting(t, 5, 1)
		r.fails(failure)
		for _, call := range calls {
			if got := receive(t, "an error", call); got.err != failure { // it must be the very error
				t.Fatalf("got %q, %v", got.value, got.err)
			}
		}
		p.next(t).returns("second try") // another process knows nothing of the error
		gives(t, elsewhere, "second try")
		gives(t, p.get(ctx), "second try")
		p.idle(t)
	})
}

func TestEachCallerHasItsOwnContext(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		p := newPair(t, store, nil)
		leaderCtx, leaderLeaves := context.WithCancel(t.Context())
		waiterCtx, waiterLeaves := context.WithCancel(t.Context())
		leader := p.get(leaderCtx)
		r := p.next(t)
		leaves, stays := p.get(waiterCtx), p.get(t.Context())
		leavesThere, staysThere := p.getThere(waiterCtx), p.getThere(t.Context())
		p.waiting(t, 2, 2)

		waiterLeaves()
		wantError(t, receive(t, "the waiter", leaves).err, context.Canceled)
		wantError(t, receive(t, "the waiter elsewhere", leavesThere).err, context.Canceled)
		leaderLeaves()
		wantError(t, receive(t, "the leader", leader).err, context.Canceled)
		noError(t, r.ctx.Err())
		r.returns("loaded")
		gives(t, stays, "loaded")
		gives(t, staysThere, "loaded")
		p.idle(t)
		p.stored(t, "loaded")
	})
}

func TestDeadlineBoundsACaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cachify.Memory(), nil)
		start := time.Now()
		wait := func(d time.Duration, get func(context.Context) <-chan result[string]) <-chan result[string] {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			return async(func() (string, error) {
				defer cancel()
				got := <-get(ctx)
				equal(t, "the call took", time.Since(start), d)
				return got.value, got.err
			})
		}
		leader := wait(3*time.Second, p.get)
		synctest.Wait()
		waiter, elsewhere := wait(time.Second, p.get), wait(2*time.Second, p.getThere)
		r := p.next(t)
		for _, call := range []<-chan result[string]{waiter, elsewhere, leader} {
			wantError(t, (<-call).err, context.DeadlineExceeded)
		}
		synctest.Wait()
		wantError(t, r.ctx.Err(), context.Canceled)
		r.returns("too late")
	})
}

func TestAbandonedLoad(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		p := newPair(t, store, nil)
		ctx, leave := context.WithCancel(t.Context())
		leader := p.get(ctx)
		abandoned := p.next(t)
		waiter := p.get(ctx)
		p.waiting(t, 1, 0)
		leave()
		receive(t, "the leader", leader)
		receive(t, "the waiter", waiter)
		receive(t, "the load's ctx", abandoned.ctx.Done())

		// The function has not noticed yet, but nobody waits for it.
		next, elsewhere := p.get(t.Context()), p.getThere(t.Context())
		r := p.next(t)
		r.returns("new")
		gives(t, next, "new")
		gives(t, elsewhere, "new")
		abandoned.returns("abandoned")
		eventually(t, "the load is over", func() bool { return p.here.Stats().LoadTime+p.there.Stats().LoadTime > 0 })
		p.idle(t)
		p.stored(t, "new")
	})
}

func TestNextCallerDoesNotWaitForAnAbandonedLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cachify.Memory(), nil)
		ctx, leave := context.WithCancel(t.Context())
		leader := p.get(ctx)
		abandoned := p.next(t)
		leave()
		<-leader
		start := time.Now()
		next := p.getThere(t.Context())
		p.next(t).returns("new")
		gives(t, next, "new")
		equal(t, "the next caller took", time.Since(start), 0)
		abandoned.returns("abandoned")
	})
}

func TestFunctionSeesValuesOfTheFirstCallerOnly(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		type key struct{}
		p := newPair(t, store, nil)
		first, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "first"), patience)
		defer cancel()
		leader := p.get(first)
		r := p.next(t)
		second := p.get(context.WithValue(t.Context(), key{}, "second"))
		equal(t, "value", r.ctx.Value(key{}), any("first"))
		if deadline, ok := r.ctx.Deadline(); ok {
			t.Errorf("the function sees the first caller's deadline, %v", deadline)
		}
		r.returns("loaded")
		gives(t, leader, "loaded")
		gives(t, second, "loaded")
	})
}

func TestPanicReachesTheCallerThatRan(t *testing.T) {
	type custom struct{ n int }
	values := map[string]any{"an error": http.ErrAbortHandler, "a string": "broken", "another type": custom{3}, "a pointer": &custom{4}}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, value := range values {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				p := newPair(t, store, nil)
				panicked := make(chan any, 1)
				go func() {
					defer func() { panicked <- recover() }()
					_, _ = p.hereCached.Get(ctx, 1)
				}()
				r := p.next(t)
				waiter, elsewhere := p.get(ctx), p.getThere(ctx)
				p.waiting(t, 1, 1)
				r.ends(func() (string, error) { panic(value) })
				equal(t, "panic", receive(t, "the panic", panicked), value)
				got := receive(t, "the waiter", waiter)
				if got.err == nil || !strings.HasPrefix(got.err.Error(), "cachify: ") || !strings.Contains(got.err.Error(), "panicked") {
					t.Errorf("the waiter got %q, %v", got.value, got.err)
				}
				if err, ok := value.(error); ok {
					wantError(t, got.err, err)
				}
				p.next(t).returns("after the panic")
				gives(t, elsewhere, "after the panic")
				noError(t, p.hereCached.Reset(ctx, 1))
			})
		}
	})
}

func TestGoexitInTheFunction(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		ended := make(chan bool, 1) // whether Get returned
		go func() {
			returned := false
			defer func() { ended <- returned }()
			_, _ = p.hereCached.Get(ctx, 1)
			returned = true
		}()
		r := p.next(t)
		waiter := p.get(ctx)
		p.waiting(t, 1, 0)
		r.ends(func() (string, error) { runtime.Goexit(); return "", nil })
		equal(t, "Get returned", receive(t, "the caller's end", ended), false)
		wantMessage(t, receive(t, "the waiter", waiter).err, "ended its goroutine")
		next := p.getThere(ctx)
		p.next(t).returns("after it")
		gives(t, next, "after it")
	})
}

// A function that asks for its own key does not wait for itself.
func TestRecursion(t *testing.T) {
	type fn = cachify.Func[int, string]
	type wrapper = *cachify.Cached[int, string]
	many := func(c wrapper) fn {
		return func(ctx context.Context, n int) (string, error) {
			vs, err := c.GetMany(ctx, []int{n})
			return vs[0], err
		}
	}
	ways := map[string]func(plain, batched wrapper) fn{
		"Get":     func(plain, _ wrapper) fn { return plain.Get },
		"Refresh": func(plain, _ wrapper) fn { return plain.Refresh },
		"GetMany": func(plain, _ wrapper) fn { return many(plain) },
		"Batch":   func(_, batched wrapper) fn { return many(batched) },
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for outerName, outer := range ways {
			for innerName, inner := range ways {
				t.Run(innerName+" in "+outerName, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					c := newClient(t, store, &cachify.Options{Prefix: t.Name()})
					var plain, batched, between wrapper
					depth := 0
					run := func(ctx context.Context, n int) (string, error) {
						if depth++; depth > 1 {
							return "core", nil
						}
						v, err := between.Get(ctx, n)
						return "around " + v, err
					}
					plain = newCached(c, run, nil)
					batched = plain.Batch(func(ctx context.Context, ns []int) ([]string, error) {
						v, err := run(ctx, ns[0])
						return []string{v}, err
					})
					between = cachify.Must(cachify.NewCached(c, "between-<n>", inner(plain, batched), nil))
					v, err := outer(plain, batched)(ctx, 1)
					noError(t, err)
					equal(t, "value", v, "around core")
					v, ok, err := plain.Peek(ctx, 1)
					noError(t, err)
					if !ok || v != "around core" {
						t.Errorf("stored %q, %v", v, ok)
					}
				})
			}
		}
	})
}

func TestLeaseIsRenewedWhileTheLoadRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		p := newPair(t, cachify.Memory(), nil)
		calls := []<-chan result[string]{p.get(ctx)}
		r := p.next(t)
		for range 60 {
			calls = append(calls, p.get(ctx), p.getThere(ctx))
			time.Sleep(time.Second)
		}
		p.idle(t)
		r.returns("after a minute")
		for _, call := range calls {
			gives(t, call, "after a minute")
		}
		p.idle(t)
		p.stored(t, "after a minute")
	})
}

func TestWaitersAreWokenWhenTheLoadEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPair(t, cachify.Memory(), nil)
		leader := p.get(t.Context())
		r := p.next(t)
		here, there := p.get(t.Context()), p.getThere(t.Context())
		time.Sleep(time.Minute + time.Millisecond)
		ended := time.Now()
		r.returns("v")
		for _, call := range []<-chan result[string]{leader, here, there} {
			gives(t, call, "v")
		}
		equal(t, "the waiters took", time.Since(ended), 0)
	})
}

// A leaseStore notes the first lease that was asked for.
type leaseStore struct {
	cachify.Store
	once  sync.Once
	lease []byte
	ttl   time.Duration
}

func (s *leaseStore) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	s.once.Do(func() { s.lease, s.ttl = slices.Clone(lease), ttl })
	return s.Store.Lease(ctx, lease, ttl, keys, tags, left)
}

func TestHandOverWhenAProcessDies(t *testing.T) {
	for name, call := range map[string]func(context.Context, *cachify.Cached[int, string]) (string, error){
		"Get": func(ctx context.Context, c *cachify.Cached[int, string]) (string, error) { return c.Get(ctx, 1) },
		"GetMany": func(ctx context.Context, c *cachify.Cached[int, string]) (string, error) {
			vs, err := c.GetMany(ctx, []int{1})
			return vs[0], err
		},
		"Batch": func(ctx context.Context, c *cachify.Cached[int, string]) (string, error) {
			vs, err := c.Batch(func(context.Context, []int) ([]string, error) { return []string{"batch"}, nil }).GetMany(ctx, []int{1})
			return vs[0], err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				store := &leaseStore{Store: cachify.Memory()}
				c := newClient(t, store, nil)
				f := newCached(c, func(context.Context, int) (string, error) { return "loaded", nil }, nil)
				key, err := f.Key(1)
				noError(t, err)
				_, err = f.Get(ctx, 2)
				noError(t, err)
				// The lease of a load that is over, on another key: nobody renews it there.
				_, _, err = store.Store.Lease(ctx, store.lease, store.ttl, []string{key}, nil, nil)
				noError(t, err)
				time.Sleep(time.Millisecond)

				start := time.Now()
				calls := make([]<-chan result[string], 50)
				for i := range calls {
					calls[i] = async(func() (string, error) { return call(ctx, f) })
				}
				for _, call := range calls {
					gives(t, call, "loaded")
				}
				if took := time.Since(start); took > 2*time.Second || took < store.ttl-time.Millisecond {
					t.Errorf("the hand-over took %v", took)
				}
				equal(t, "loads", c.Stats().Loads, 2)
			})
		})
	}
}
