package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func newOnce[K, V any](c *cachify.Client, fn cachify.Func[K, V], opts *cachify.OnceOptions) *cachify.Once[K, V] {
	return cachify.Must(cachify.NewOnce(c, "job-<n>", fn, opts))
}

// do calls a Once for the key that these tests share.
func do(ctx context.Context, o *cachify.Once[int, string]) <-chan result[string] {
	return async(func() (string, error) { return o.Do(ctx, 1) })
}

func locked(t testing.TB, o *cachify.Once[int, string]) bool {
	t.Helper()
	is, err := o.IsLocked(context.WithoutCancel(t.Context()), 1)
	noError(t, err)
	return is
}

func TestNewOnceErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	tests := []struct {
		name, template string
		fn             cachify.Func[int, int]
		opts           cachify.OnceOptions
		want           string
	}{
		{"nil function", "f-<n>", nil, cachify.OnceOptions{}, "the function is nil"},
		{"empty template", "", square, cachify.OnceOptions{}, "empty"},
		{"no placeholder", "f", square, cachify.OnceOptions{}, "never mentions"},
		{"negative TTL", "f-<n>", square, cachify.OnceOptions{TTL: -time.Second}, "OnceOptions.TTL"},
		{"tiny TTL", "f-<n>", square, cachify.OnceOptions{TTL: time.Millisecond - 1}, "OnceOptions.TTL"},
		{"negative wait", "f-<n>", square, cachify.OnceOptions{Wait: -1}, "OnceOptions.Wait"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, err := cachify.NewOnce(c, test.template, test.fn, &test.opts)
			wantMessage(t, err, test.want)
			if o != nil {
				t.Error("a wrapper came with the error")
			}
		})
	}
}

func TestOnceRunsOneAtATime(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPuppet(t)
		here := newOnce(newClient(t, store, nil), p.fn, nil)
		there := newOnce(newClient(t, store, nil), p.fn, nil)
		first := do(ctx, here)
		r := p.next(t)
		for _, o := range []*cachify.Once[int, string]{here, there} {
			v, err := o.Do(ctx, 1)
			wantError(t, err, cachify.ErrLocked)
			wantMessage(t, err, "once:job-1")
			equal(t, "value", v, "")
			v, err = o.ReturnOnLocked("in progress").Do(ctx, 1)
			noError(t, err)
			equal(t, "value", v, "in progress")
			equal(t, "locked", locked(t, o), true)
		}
		other := async(func() (string, error) { return there.Do(ctx, 2) }) // another key
		p.next(t).returns("another")
		gives(t, other, "another")
		r.returns("done")
		gives(t, first, "done")
		equal(t, "locked afterwards", locked(t, there), false)

		second := do(ctx, there.ReturnOnLocked("in progress"))
		p.next(t).returns("again")
		gives(t, second, "again")
		p.idle(t)
	})
}

func TestOnceNeverRunsTwoAtATime(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		var running, most, runs atomic.Int32
		fn := func(context.Context, int) (string, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			runtime.Gosched()
			runs.Add(1)
			running.Add(-1)
			return "", nil
		}
		var wg sync.WaitGroup
		for range 2 {
			o := newOnce(newClient(t, store, nil), fn, &cachify.OnceOptions{Wait: patience})
			for range 15 {
				wg.Go(func() {
					for range 3 {
						if _, err := o.Do(t.Context(), 1); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		wg.Wait()
		equal(t, "at a time", most.Load(), 1)
		equal(t, "runs", runs.Load(), 90)
	})
}

func TestOnceFreesItsLock(t *testing.T) {
	failure := errors.New("no")
	ends := map[string]func() (string, error){
		"value":  func() (string, error) { return "v", nil },
		"error":  func() (string, error) { return "v", failure },
		"panic":  func() (string, error) { panic(failure) },
		"Goexit": func() (string, error) { runtime.Goexit(); return "", nil },
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, end := range ends {
			for _, cancelled := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, cancelled %v", name, cancelled), func(t *testing.T) {
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					p := newPuppet(t)
					o := newOnce(newClient(t, store, nil), p.fn, nil)
					panicked := make(chan any, 1)
					got := make(chan result[string], 1)
					go func() {
						defer func() { panicked <- recover() }()
						v, err := o.Do(ctx, 1)
						got <- result[string]{v, err}
					}()
					r := p.next(t)
					if cancelled {
						cancel()
						receive(t, "the end of the function's ctx", r.ctx.Done())
						equal(t, "cause", context.Cause(r.ctx), context.Canceled)
					}
					r.ends(end)
					value := receive(t, "the end of Do", panicked)
					equal(t, "locked", locked(t, o), false)
					equal(t, "panicked", value != nil, name == "panic")
					equal(t, "returned", len(got) == 1, name == "value" || name == "error")
					if name == "panic" {
						equal(t, "panic", value, any(failure))
					}
					if name == "value" || name == "error" {
						g := <-got
						equal(t, "value", g.value, "v")
						equal(t, "error", g.err, map[string]error{"error": failure}[name])
					}
				})
			}
		}
	})
}

func TestOnceWaits(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPuppet(t)
		here := newOnce(newClient(t, store, nil), p.fn, nil)
		there := newOnce(newClient(t, store, nil), p.fn, &cachify.OnceOptions{Wait: patience}).ReturnOnLocked("locked")
		first := do(ctx, here)
		r := p.next(t)
		waits, waitsToo := do(ctx, there), do(ctx, there)
		r.returns("first")
		gives(t, first, "first")
		p.next(t).returns("next")
		p.next(t).returns("next")
		gives(t, waits, "next")
		gives(t, waitsToo, "next")
	})
}

func TestOnceWaitEnds(t *testing.T) {
	const wait = 10 * time.Second
	tests := map[string]struct {
		end     func(ctx context.Context) (context.Context, context.CancelFunc)
		took    time.Duration
		want    error  // beside ErrLocked
		onValue string // what Do gives with ReturnOnLocked
	}{
		"by itself": {context.WithCancel, wait, nil, "locked"},
		"by a deadline": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, wait/2)
		}, wait / 2, context.DeadlineExceeded, ""},
		"before it began": {func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, 0) }, 0, context.DeadlineExceeded, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPuppet(t)
				o := newOnce(newClient(t, cachify.Memory(), nil), p.fn, &cachify.OnceOptions{Wait: wait})
				first := do(t.Context(), o)
				r := p.next(t)
				for _, o := range []*cachify.Once[int, string]{o, o.ReturnOnLocked("locked")} {
					start := time.Now()
					ctx, cancel := test.end(t.Context())
					defer cancel()
					got := <-do(ctx, o)
					equal(t, "the wait took", time.Since(start), test.took)
					if got.value == "locked" && test.onValue == "locked" && got.err == nil {
						continue
					}
					if test.want != nil {
						wantError(t, got.err, test.want)
					}
					if test.took > 0 {
						wantError(t, got.err, cachify.ErrLocked)
					}
				}
				v, err := o.ReturnOnLocked("locked").Do(t.Context(), 1)
				noError(t, err)
				equal(t, "value", v, "locked")
				r.returns("done")
				gives(t, first, "done")
				p.idle(t)
			})
		})
	}
}

// The ctx may end a wait in the middle of an attempt: the caller learns of both all the same.
func TestOnceWaitEndsDuringAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		p := newPuppet(t)
		c := newClient(t, store, &cachify.Options{OpTimeout: 3 * time.Second})
		o := newOnce(c, p.fn, &cachify.OnceOptions{Wait: time.Hour})
		first := do(t.Context(), o)
		r := p.next(t)
		ctx, cancel := context.WithCancel(t.Context())
		waits := do(ctx, o)
		time.Sleep(time.Second)
		attempts := store.count("Lock")
		store.set(hanging)
		time.Sleep(time.Second) // the next attempt has begun, and has yet to fail
		equal(t, "attempts", store.count("Lock"), attempts+1)
		cancel()
		got := <-waits
		store.set(nil)
		r.returns("done")
		gives(t, first, "done")
		wantError(t, got.err, context.Canceled)
		wantError(t, got.err, cachify.ErrLocked)
	})
}

func TestCloseEndsAWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := cachify.Memory()
		p := newPuppet(t)
		c := cachify.New(store, nil)
		first := do(t.Context(), newOnce(newClient(t, store, nil), p.fn, nil))
		r := p.next(t)
		waits := do(t.Context(), newOnce(c, p.fn, &cachify.OnceOptions{Wait: time.Hour}))
		synctest.Wait()
		noError(t, c.Close())
		wantError(t, (<-waits).err, cachify.ErrClosed)
		r.returns("done")
		gives(t, first, "done")
	})
}

func TestOnceKeep(t *testing.T) {
	const ttl = time.Hour
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := newClient(t, cachify.Memory(), nil)
		runs, failure := 0, error(nil)
		fn := func(ctx context.Context, _ int) (string, error) {
			runs++
			time.Sleep(3 * ttl) // renewed meanwhile
			return "ran", failure
		}
		o := newOnce(c, fn, &cachify.OnceOptions{TTL: ttl, Keep: true})
		once := o.ReturnOnLocked("has run already")
		for range 3 {
			v, err := once.Do(ctx, 1)
			noError(t, err)
			equal(t, "value", v, "ran")
			began := time.Now()
			for locked(t, o) {
				v, err = once.Do(ctx, 1)
				noError(t, err)
				equal(t, "value", v, "has run already")
				_, err = o.Do(ctx, 1)
				wantError(t, err, cachify.ErrLocked)
				time.Sleep(time.Minute)
			}
			if kept := time.Since(began); kept < ttl*2/3-time.Minute || kept > ttl+time.Minute {
				t.Errorf("the lock was kept for %v, want up to %v since the last renewal", kept, ttl)
			}
		}
		equal(t, "runs", runs, 3)
		failure = errors.New("failed")
		_, err := once.Do(ctx, 1)
		wantError(t, err, failure)
		equal(t, "locked after an error", locked(t, o), false)
	})
}

func TestOnceKeepOnEachStore(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		end := func() (string, error) { return "ran", nil }
		o := newOnce(c, func(context.Context, int) (string, error) { return end() }, &cachify.OnceOptions{Keep: true, TTL: time.Hour})
		gives(t, do(ctx, o), "ran")
		wantError(t, (<-do(ctx, o)).err, cachify.ErrLocked)
		noError(t, o.Release(ctx, 1))
		end = func() (string, error) { panic("no") }
		func() {
			defer func() { equal(t, "panic", recover(), any("no")) }()
			_, _ = o.Do(ctx, 1)
		}()
		equal(t, "locked after a panic", locked(t, o), false)
		end = func() (string, error) { return "", errDown }
		wantError(t, (<-do(ctx, o)).err, errDown)
		equal(t, "locked after an error", locked(t, o), false)
	})
}

// An ErrLocked that the function itself returns is its own affair.
func TestErrLockedOfTheFunctionIsNoLockedOnce(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		p := newPuppet(t)
		inner := newOnce(c, p.fn, nil)
		outer := cachify.Must(cachify.NewOnce(c, "outer-<n>", inner.Do, nil)).ReturnOnLocked("the outer one is locked")
		first := do(ctx, inner)
		r := p.next(t)
		v, err := outer.Do(ctx, 1)
		wantError(t, err, cachify.ErrLocked)
		equal(t, "value", v, "")
		r.returns("done")
		gives(t, first, "done")
	})
}

func TestOnceReleaseByForce(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPuppet(t)
		o := newOnce(newClient(t, store, nil), p.fn, nil)
		noError(t, o.Release(ctx, 1)) // nothing there is no error
		first := do(ctx, o)
		r := p.next(t)
		noError(t, o.Release(ctx, 1))
		equal(t, "locked", locked(t, o), false)
		second := do(ctx, o)
		r2 := p.next(t)
		r.returns("first")
		got := receive(t, "the first", first)
		wantError(t, got.err, cachify.ErrLockLost)
		equal(t, "value", got.value, "first")
		equal(t, "the next holder's lock is there", locked(t, o), true)
		r2.returns("second")
		gives(t, second, "second")
		equal(t, "locked", locked(t, o), false)
	})
}

func TestOnceOfArgumentsWithoutAKey(t *testing.T) {
	ctx := t.Context()
	o := newOnce(newClient(t, cachify.Memory(), nil), func(context.Context, float64) (int, error) {
		t.Error("the function ran")
		return 0, nil
	}, nil).ReturnOnLocked(1)
	nan := math.NaN()
	_, err := o.Do(ctx, nan)
	wantMessage(t, err, "NaN")
	_, err = o.IsLocked(ctx, nan)
	wantMessage(t, err, "NaN")
	_, err = o.Key(nan)
	wantMessage(t, err, "NaN")
	wantMessage(t, o.Release(ctx, nan), "NaN")
}

func TestOnceTTLOnRedis(t *testing.T) {
	rdb, m := redistest.Mini(t)
	m.ClockTTL(false) // time stands still
	tests := []struct{ client, wrapper, want time.Duration }{
		{0, 0, cachify.DefaultLockTTL},
		{time.Minute, 0, time.Minute},
		{time.Minute, time.Hour, time.Hour},
		{cachify.NoExpiry, 0, cachify.NoExpiry},
		{0, cachify.NoExpiry, cachify.NoExpiry},
		{0, time.Second / 2, time.Second / 2},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.client, " ", test.wrapper), func(t *testing.T) {
			c := newClient(t, cachify.Redis(rdb), &cachify.Options{LockTTL: test.client, Prefix: "app:"})
			o := newOnce(c, func(ctx context.Context, _ int) (time.Duration, error) {
				return rdb.PTTL(ctx, "app:once:job-1").Result()
			}, &cachify.OnceOptions{TTL: test.wrapper})
			ttl, err := o.Do(t.Context(), 1)
			noError(t, err)
			equal(t, "TTL", ttl, test.want)
		})
	}
}
