package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// ttlCases are the rules by which an entry's time to live is found.
var ttlCases = []struct {
	name            string
	client, wrapper time.Duration
	run             func(ctx context.Context)
	want            time.Duration
}{
	{"default", 0, 0, nil, cachify.DefaultTTL},
	{"client", time.Hour, 0, nil, time.Hour},
	{"wrapper over client", time.Hour, time.Minute, nil, time.Minute},
	{"call over wrapper", time.Hour, time.Minute, setTTL(30 * time.Minute), 30 * time.Minute},
	{"last call counts", 0, 0, func(ctx context.Context) { setTTL(0)(ctx); setTTL(time.Hour)(ctx) }, time.Hour},
	{"client for ever", cachify.NoExpiry, 0, nil, cachify.NoExpiry},
	{"wrapper for ever", time.Hour, cachify.NoExpiry, nil, cachify.NoExpiry},
	{"wrapper over client for ever", cachify.NoExpiry, time.Hour, nil, time.Hour},
	{"call for ever", time.Hour, time.Minute, setTTL(cachify.NoExpiry), cachify.NoExpiry},
	{"call over wrapper for ever", 0, cachify.NoExpiry, setTTL(time.Hour), time.Hour},
	{"below a second", 0, 1500 * time.Millisecond, setTTL(250 * time.Millisecond), 250 * time.Millisecond},
	{"below a millisecond", 0, time.Microsecond, nil, time.Millisecond},
	{"whole milliseconds, rounded up", 0, 20*time.Millisecond + 1, nil, 21 * time.Millisecond},
}

func setTTL(d time.Duration) func(context.Context) {
	return func(ctx context.Context) { cachify.SetTTL(ctx, d) }
}

func TestTTL(t *testing.T) {
	for _, test := range ttlCases {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				c := newClient(t, cachify.Memory(), &cachify.Options{TTL: test.client})
				f := newCached(c, func(ctx context.Context, n int) (int, error) {
					if test.run != nil {
						test.run(ctx)
					}
					return n, nil
				}, &cachify.CachedOptions{TTL: test.wrapper})
				there := func() bool {
					_, ok, err := f.Peek(ctx, 1)
					noError(t, err)
					return ok
				}
				stored := map[string]func() error{
					"Get":     func() error { _, err := f.Get(ctx, 1); return err },
					"Refresh": func() error { _, err := f.Refresh(ctx, 1); return err },
					"GetMany": func() error { _, err := f.GetMany(ctx, []int{1}); return err },
				}
				if test.run == nil {
					stored["Put"] = func() error { return f.Put(ctx, 1, 1) }
				}
				for name, store := range stored {
					noError(t, store())
					if test.want == cachify.NoExpiry {
						time.Sleep(10 * 365 * 24 * time.Hour)
						equal(t, name+": there after ten years", there(), true)
						noError(t, f.Reset(ctx, 1))
						continue
					}
					time.Sleep(test.want - 1)
					equal(t, name+": there before the TTL has passed", there(), true)
					time.Sleep(time.Nanosecond)
					equal(t, name+": there after the TTL has passed", there(), false)
				}
			})
		})
	}
}

func TestTTLOnRedis(t *testing.T) {
	rdb, m := redistest.Mini(t)
	m.ClockTTL(false) // time stands still
	for _, test := range ttlCases {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			c := newClient(t, cachify.Redis(rdb), &cachify.Options{TTL: test.client, Prefix: t.Name()})
			f := newCached(c, func(ctx context.Context, n int) (int, error) {
				if test.run != nil {
					test.run(ctx)
				}
				return n, nil
			}, &cachify.CachedOptions{TTL: test.wrapper})
			_, err := f.Get(ctx, 1)
			noError(t, err)
			key, err := f.Key(1)
			noError(t, err)
			ttl, err := rdb.PTTL(ctx, key).Result()
			noError(t, err)
			equal(t, "TTL", ttl, test.want)
		})
	}
}

// A ttlStore notes the times to live that values are given, in the place of the leases that come before them.
type ttlStore struct {
	cachify.Store
	mu   sync.Mutex
	ttls []time.Duration
}

func (s *ttlStore) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	if head != nil {
		s.mu.Lock()
		s.ttls = append(s.ttls, ttls...)
		s.mu.Unlock()
	}
	return s.Store.Set(ctx, head, keys, values, ttls, tags)
}

func TestJitter(t *testing.T) {
	const ttl, n = 10 * time.Second, 300
	tests := []struct {
		name            string
		client, wrapper float64
		least           time.Duration
	}{
		{"none", 0, 0, ttl},
		{"of the client", 0.5, 0, ttl / 2},
		{"of the wrapper", 0.1, 0.2, ttl * 8 / 10},
		{"whole", 0, 1, time.Millisecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx := t.Context()
			store := &ttlStore{Store: cachify.Memory()}
			c := newClient(t, store, &cachify.Options{Jitter: test.client})
			f := newCached(c, square, &cachify.CachedOptions{TTL: ttl, Jitter: test.wrapper})
			args := make([]int, n)
			for i := range args {
				args[i] = i
			}
			for _, i := range args[:n/3] {
				_, err := f.Get(ctx, i)
				noError(t, err)
				noError(t, f.Put(ctx, -i, 0))
			}
			batch := f.Batch(func(_ context.Context, args []int) ([]int, error) { return args, nil })
			_, err := batch.GetMany(ctx, args)
			noError(t, err)

			least, most := slices.Min(store.ttls), slices.Max(store.ttls)
			if least < test.least || most > ttl {
				t.Fatalf("from %v to %v, want %v to %v", least, most, test.least, ttl)
			}
			// The chance that so many draws leave a tenth of the range empty at one end is below 1e-13.
			margin := (ttl - test.least) / 10
			if least > test.least+margin || most < ttl-margin {
				t.Fatalf("from %v to %v: not spread over %v to %v", least, most, test.least, ttl)
			}
		})
	}
	t.Run("never on what does not expire", func(t *testing.T) {
		store := &ttlStore{Store: cachify.Memory()}
		f := newCached(newClient(t, store, &cachify.Options{Jitter: 1}), square, &cachify.CachedOptions{TTL: cachify.NoExpiry})
		noError(t, f.Put(t.Context(), 1, 1))
		equal(t, "TTL", store.ttls[0], cachify.NoExpiry)
	})
}

func TestResultsThatAreNotStored(t *testing.T) {
	tests := map[string]func(context.Context){
		"NoStore":                       cachify.NoStore,
		"NoStore after SetTTL":          func(ctx context.Context) { setTTL(time.Hour)(ctx); cachify.NoStore(ctx) },
		"NoStore before SetTTL":         func(ctx context.Context) { cachify.NoStore(ctx); setTTL(time.Hour)(ctx) },
		"SetTTL zero":                   setTTL(0),
		"SetTTL negative":               setTTL(-time.Second),
		"in another goroutine":          func(ctx context.Context) { var wg sync.WaitGroup; wg.Go(func() { cachify.NoStore(ctx) }); wg.Wait() },
		"through a ctx of the ctx":      func(ctx context.Context) { cachify.NoStore(context.WithValue(ctx, spanKey{}, "any")) },
		"SetTTL negative, not NoExpiry": setTTL(-2),
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, inside := range tests {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				c := newClient(t, store, &cachify.Options{Prefix: t.Name()})
				loads := 0
				f := newCached(c, func(ctx context.Context, n int) (int, error) {
					loads++
					inside(ctx)
					return n, nil
				}, nil)
				for range 2 {
					v, err := f.Get(ctx, 1)
					noError(t, err)
					equal(t, "value", v, 1)
				}
				_, err := f.GetMany(ctx, []int{1})
				noError(t, err)
				_, ok, err := f.Peek(ctx, 1)
				noError(t, err)
				equal(t, "stored", ok, false)
				equal(t, "loads", loads, 3)

				// A refresh that is not to be stored leaves the value that is there.
				noError(t, f.Put(ctx, 1, 100))
				v, err := f.Refresh(ctx, 1)
				noError(t, err)
				equal(t, "refreshed", v, 1)
				v, err = f.Get(ctx, 1)
				noError(t, err)
				equal(t, "after Refresh", v, 100)
			})
		}
	})
}

func TestWaitersGetWhatIsNotStored(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newClient(t, store, nil), newClient(t, store, nil)
		p := newPuppet(t)
		f, g := newCached(here, p.fn, nil), newCached(there, p.fn, nil)
		calls := []<-chan result[string]{async(func() (string, error) { return f.Get(ctx, 1) })}
		r := p.next(t)
		for range 3 {
			calls = append(calls, async(func() (string, error) { return f.Get(ctx, 1) }))
		}
		elsewhere := async(func() (string, error) { return g.Get(ctx, 1) })
		eventually(t, "all wait", func() bool { return here.Stats().Waits == 3 && there.Stats().Waits == 1 })
		r.ends(func() (string, error) { cachify.NoStore(r.ctx); return "not stored", nil })
		for _, call := range calls {
			gives(t, call, "not stored")
		}
		// The other process can't have it: it loads for itself.
		p.next(t).returns("its own")
		gives(t, elsewhere, "its own")
		p.idle(t)
	})
}

func TestCallFunctionsDoNothingWithOtherContexts(t *testing.T) {
	ctx := t.Context()
	cachify.SetTTL(ctx, time.Second)
	cachify.NoStore(ctx)
	cachify.AddTags(ctx, "tag")

	// Nor with that of a run that is over.
	c := newClient(t, cachify.Memory(), nil)
	var run context.Context
	f := newCached(c, func(ctx context.Context, n int) (int, error) { run = ctx; return n, nil }, nil)
	_, err := f.Get(ctx, 1)
	noError(t, err)
	cachify.NoStore(run)
	cachify.AddTags(run, "tag")
	noError(t, c.ResetTags(ctx, "tag"))
	_, ok, err := f.Peek(ctx, 1)
	noError(t, err)
	equal(t, "there", ok, true)
}

// What a function asks for is for its own run alone, however wrappers are nested.
func TestCallFunctionsApplyToTheInnermostRun(t *testing.T) {
	nan := []float64{0}
	nan[0] /= nan[0]
	type inner struct {
		c     *cachify.Client
		calls func(context.Context) // SetTTL, NoStore, AddTags
	}
	tests := map[string]func(in inner, ctx context.Context) error{
		"Get": func(in inner, ctx context.Context) error {
			_, err := newCached(in.c, func(ctx context.Context, n int64) (int64, error) { in.calls(ctx); return n, nil }, nil).Get(ctx, 2)
			return err
		},
		"GetMany with Batch": func(in inner, ctx context.Context) error {
			f := newCached(in.c, func(_ context.Context, n int64) (int64, error) { return n, nil }, nil)
			_, err := f.Batch(func(ctx context.Context, ns []int64) ([]int64, error) { in.calls(ctx); return ns, nil }).GetMany(ctx, []int64{2})
			return err
		},
		"Get of arguments without a key": func(in inner, ctx context.Context) error {
			_, err := newCached(in.c, func(ctx context.Context, n float64) (int, error) { in.calls(ctx); return 0, nil }, nil).Get(ctx, nan[0])
			return err
		},
		"Get of a closed client": func(in inner, ctx context.Context) error {
			c := cachify.New(cachify.Memory(), nil)
			f := newCached(c, func(ctx context.Context, n int64) (int64, error) { in.calls(ctx); return n, nil }, nil)
			if err := c.Close(); err != nil {
				return err
			}
			_, err := f.Get(ctx, 2)
			return err
		},
		"GetMany with Batch in an outage": func(in inner, ctx context.Context) error {
			store := &faultyStore{Store: cachify.Memory()}
			store.set(failing)
			c := cachify.New(store, nil)
			f := newCached(c, func(_ context.Context, n int64) (int64, error) { return n, nil }, nil)
			_, err := f.Batch(func(ctx context.Context, ns []int64) ([]int64, error) { in.calls(ctx); return ns, nil }).GetMany(ctx, []int64{2})
			return errors.Join(err, c.Close())
		},
	}
	for name, nested := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				c := newClient(t, cachify.Memory(), nil)
				var in inner
				outer := cachify.Must(cachify.NewCached(c, "outer-<n>", func(ctx context.Context, n int) (int, error) {
					return n, nested(in, ctx)
				}, nil))
				there := func() bool {
					_, ok, err := outer.Peek(ctx, 1)
					noError(t, err)
					return ok
				}
				in = inner{c, func(ctx context.Context) { cachify.SetTTL(ctx, time.Second); cachify.AddTags(ctx, "inner") }}
				_, err := outer.Get(ctx, 1)
				noError(t, err)
				noError(t, c.ResetTags(ctx, "inner"))
				equal(t, "the outer entry is there after a reset of the inner's tag", there(), true)
				time.Sleep(cachify.DefaultTTL - 1)
				equal(t, "the outer entry is there until its own TTL has passed", there(), true)
				time.Sleep(time.Nanosecond)
				equal(t, "the outer entry is there after its own TTL has passed", there(), false)

				in.calls = cachify.NoStore
				_, err = outer.Get(ctx, 1)
				noError(t, err)
				equal(t, "the outer entry is stored", there(), true)
			})
		})
	}
}

func TestNestedWrappers(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		loads := 0
		inner := cachify.Must(cachify.NewCached(c, "inner-<n>", func(_ context.Context, n int) (string, error) {
			loads++
			return fmt.Sprint("load ", loads), nil
		}, nil))
		outer := cachify.Must(cachify.NewCached(c, "outer-<n>", inner.Get, nil))
		once := cachify.Must(cachify.NewOnce(c, "once-<n>", outer.Get, nil))
		var got []string
		do := func() {
			v, err := once.Do(ctx, 1)
			noError(t, err)
			got = append(got, v)
		}
		do()
		do()
		noError(t, inner.Reset(ctx, 1))
		do() // of the outer wrapper, whose entry is its own
		noError(t, outer.Reset(ctx, 1))
		do()
		noError(t, outer.Reset(ctx, 1))
		do() // of the inner wrapper
		equal(t, "values", strings.Join(got, ", "), "load 1, load 1, load 1, load 2, load 2")
	})
}
