package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// nearly are options with a near cache.
func nearly() *cachify.CachedOptions { return &cachify.CachedOptions{Near: &cachify.NearOptions{}} }

// warm calls Get until its answer comes out of the near cache.
func warm[K, V any](t *testing.T, c *cachify.Client, f *cachify.Cached[K, V], args K) V {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		before := c.Stats().NearHits
		v, err := f.Get(t.Context(), args)
		noError(t, err)
		if c.Stats().NearHits > before {
			return v
		}
		if time.Now().After(deadline) {
			t.Fatal("the near cache does not get warm")
		}
		time.Sleep(time.Millisecond)
	}
}

// A nearPair is two clients over one store, each with a near cache for one function.
type nearPair struct {
	here, there *cachify.Client
	f, g        *cachify.Cached[int, int]
	source      *atomic.Int64
}

func newNearPair(t *testing.T, store func() cachify.Store, opts *cachify.CachedOptions) *nearPair {
	p := &nearPair{source: new(atomic.Int64)}
	load := func(context.Context, int) (int, error) { return int(p.source.Load()), nil }
	p.here, p.there = newClient(t, store(), nil), newClient(t, store(), nil)
	p.f = cachify.Must(cachify.NewCached(p.here, "n-<n>", load, opts))
	p.g = cachify.Must(cachify.NewCached(p.there, "n-<n>", load, opts))
	return p
}

// eventuallyGets waits until Get in the other client gives what is in the source.
func (p *nearPair) eventuallyGets(t *testing.T, g *cachify.Cached[int, int], n int) {
	t.Helper()
	want := int(p.source.Load())
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Microsecond) {
		got, err := g.Get(t.Context(), n)
		noError(t, err)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the other client still gives %d, want %d", got, want)
		}
	}
}

func TestNearHitsNeedNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, followedStore{store, store.Store.(cachify.Followed)}, nil)
		f := cachify.Must(cachify.NewCached(c, "n-<n>", square, nearly()))
		for range 10 {
			v, err := f.Get(t.Context(), 7)
			noError(t, err)
			equal(t, "value", v, 49)
		}
		equal(t, "reads", store.count("Lease"), 1)
		if s := c.Stats(); s.NearHits != 9 || s.Hits != 0 || s.Loads != 1 {
			t.Errorf("%+v", s)
		}
		time.Sleep(cachify.DefaultNearTTL)
		_, err := f.Get(t.Context(), 7)
		noError(t, err)
		equal(t, "reads after the near TTL", store.count("Lease"), 2)
		equal(t, "loads", c.Stats().Loads, 1)
	})
}

// A followedStore adds Follow to a store that wraps another.
type followedStore struct {
	cachify.Store
	followed cachify.Followed
}

func (s followedStore) Follow(prefix, stampKey string, f cachify.Follower) func() {
	return s.followed.Follow(prefix, stampKey, f)
}

func TestNearNeverOutlivesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newNearPair(t, sameStore(cachify.Memory()), &cachify.CachedOptions{TTL: 10 * time.Second, Near: &cachify.NearOptions{TTL: time.Hour}})
		warm(t, p.here, p.f, 1)
		time.Sleep(8 * time.Second)
		warm(t, p.there, p.g, 1) // has two seconds left
		p.source.Add(1)
		time.Sleep(2 * time.Second)
		for _, f := range []*cachify.Cached[int, int]{p.f, p.g} {
			v, err := f.Get(t.Context(), 1)
			noError(t, err)
			equal(t, "value when the entry has expired", v, 1)
		}
	})
}

func sameStore(s cachify.Store) func() cachify.Store { return func() cachify.Store { return s } }

func TestNearResets(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		p := newNearPair(t, sameStore(store), &cachify.CachedOptions{Tags: []string{"tag-<n>"}, Near: &cachify.NearOptions{TTL: time.Hour}})
		ctx := t.Context()
		for name, reset := range map[string]func() error{
			"Reset":     func() error { return p.f.Reset(ctx, 1) },
			"ResetTags": func() error { return p.here.ResetTags(ctx, "tag-1") },
			"ResetAll":  func() error { return p.f.ResetAll(ctx) },
			"Put":       func() error { return p.f.Put(ctx, 1, int(p.source.Load())) },
			"Refresh":   func() error { _, err := p.f.Refresh(ctx, 1); return err },
		} {
			t.Run(name, func(t *testing.T) {
				for range 20 {
					warm(t, p.here, p.f, 1)
					warm(t, p.there, p.g, 1)
					warm(t, p.there, p.g, 2)
					p.source.Add(1)
					noError(t, reset())
					v, err := p.f.Get(ctx, 1)
					noError(t, err)
					equal(t, "value here, at once", v, int(p.source.Load()))
					p.eventuallyGets(t, p.g, 1)
				}
			})
		}
		t.Run("what was not reset stays", func(t *testing.T) {
			old := warm(t, p.there, p.g, 2)
			p.source.Add(1)
			noError(t, p.here.ResetTags(ctx, "tag-1"))
			noError(t, p.f.Reset(ctx, 1))
			p.eventuallyGets(t, p.g, 1)
			before := p.there.Stats().NearHits
			v, err := p.g.Get(ctx, 2)
			noError(t, err)
			equal(t, "value", v, old)
			equal(t, "near hits", p.there.Stats().NearHits-before, 1)
		})
	})
}

func TestNearOfAddedTags(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newClient(t, store, nil), newClient(t, store, nil)
		var source atomic.Int64
		f := cachify.Must(cachify.NewCached(there, "n-<n>", func(ctx context.Context, n int) (int, error) {
			cachify.AddTags(ctx, "added")
			return int(source.Load()), nil
		}, nearly()))
		warm(t, there, f, 1)
		source.Add(1)
		noError(t, there.ResetTags(ctx, "added"))
		v, err := f.Get(ctx, 1)
		noError(t, err)
		equal(t, "value after a reset here", v, 1)
		warm(t, there, f, 1)
		source.Add(1)
		noError(t, here.ResetTags(ctx, "added"))
		within(t, "the reset arrives", func() bool {
			v, err := f.Get(ctx, 1)
			return err == nil && v == 2
		})
	})
}

func within(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// A Reset that fails is as good as done for this process.
func TestNearOfAResetThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, followedStore{store, store.Store.(cachify.Followed)}, nil)
		var source atomic.Int64
		f := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (int, error) { return int(source.Load()), nil },
			&cachify.CachedOptions{Tags: []string{"tag"}, Near: &cachify.NearOptions{}}))
		for _, reset := range []func() error{
			func() error { return f.Reset(t.Context(), 1) },
			func() error { return c.ResetTags(t.Context(), "tag") },
		} {
			warm(t, c, f, 1)
			source.Add(1)
			store.set(failing)
			if reset() == nil {
				t.Error("the reset gave no error")
			}
			store.set(nil)
			v, err := f.Get(t.Context(), 1)
			noError(t, err)
			equal(t, "value", v, int(source.Load()))
			time.Sleep(time.Minute)
		}
	})
}

// A fill that read the old value must not be kept when the reset overtakes it.
func TestNearFillThatAResetOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := cachify.Memory()
		store := &faultyStore{Store: memory}
		slow := newClient(t, followedStore{store, memory.(cachify.Followed)}, nil)
		var source atomic.Int64
		load := func(context.Context, int) (int, error) { return int(source.Load()), nil }
		f := cachify.Must(cachify.NewCached(slow, "n-<n>", load, nearly()))
		writer := cachify.Must(cachify.NewCached(newClient(t, memory, nil), "n-<n>", load, nil))
		_, err := writer.Get(t.Context(), 1) // so that it is in the store
		noError(t, err)
		for name, reset := range map[string]*cachify.Cached[int, int]{"by another client": writer, "by this one": f} {
			store.set(func(ctx context.Context, op string, do func() error) error {
				err := do()
				if op == "Lease" {
					time.Sleep(100 * time.Millisecond) // the answer is on its way
				}
				return err
			})
			late := async(func() (int, error) { return f.Get(t.Context(), 1) })
			time.Sleep(50 * time.Millisecond)
			source.Add(1)
			noError(t, reset.Reset(t.Context(), 1))
			noError(t, (<-late).err)
			store.set(nil)
			v, err := f.Get(t.Context(), 1)
			noError(t, err)
			equal(t, "value after a reset "+name, v, int(source.Load()))
		}
	})
}

// While changes may be missed, nothing is given out, and nothing that was read before is kept.
func TestNearWithoutConnection(t *testing.T) {
	store := &mutableFeed{Store: cachify.Memory()}
	c := newClient(t, store, nil)
	var source atomic.Int64
	f := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (int, error) { return int(source.Load()), nil }, nearly()))
	for range 3 {
		store.follower.Live(true)
		warm(t, c, f, 1)
		store.follower.Live(false)
		before := c.Stats().NearHits
		for range 3 {
			_, err := f.Get(t.Context(), 1)
			noError(t, err)
		}
		equal(t, "near hits", c.Stats().NearHits-before, 0)
		store.follower.Live(true)
		_, err := f.Get(t.Context(), 1)
		noError(t, err)
		equal(t, "near hits of what was there before", c.Stats().NearHits-before, 0)
	}
}

// A mutableFeed tells of nothing by itself.
type mutableFeed struct {
	cachify.Store
	follower cachify.Follower
}

func (s *mutableFeed) Follow(_, _ string, f cachify.Follower) func() {
	s.follower = f
	return func() {}
}

type withSlice struct {
	Names []string
	At    time.Time
}

func TestNobodyChangesWhatIsNear(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		load := func(context.Context, int) (withSlice, error) { return withSlice{Names: []string{"a"}}, nil }
		f := cachify.Must(cachify.NewCached(c, "own-<n>", load, nearly()))
		for range 5 {
			v := warm(t, c, f, 1)
			equal(t, "name", v.Names[0], "a")
			v.Names[0] = "changed"
		}
		shared := cachify.Must(cachify.NewCached(c, "shared-<n>", load, &cachify.CachedOptions{Near: &cachify.NearOptions{Shared: true}}))
		v, w := warm(t, c, shared, 1), warm(t, c, shared, 1)
		if &v.Names[0] != &w.Names[0] {
			t.Error("with Shared, two callers got values of their own")
		}
	})
}

func TestNearOptionErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	for message, near := range map[string]cachify.NearOptions{
		"Size is -1":      {Size: -1},
		"Bytes is -1":     {Bytes: -1},
		"TTL is -1s":      {TTL: -time.Second},
		"set one of them": {Size: 1, Bytes: 1},
	} {
		_, err := cachify.NewCached(c, "n-<n>", square, &cachify.CachedOptions{Near: &near})
		wantMessage(t, err, message)
		_, err = cachify.NewCached(cachify.New(cachify.Memory(), &cachify.Options{Near: &near}), "n-<n>", square, nil)
		wantMessage(t, err, message)
	}
	_, err := cachify.NewCached(newClient(t, &faultyStore{Store: cachify.Memory()}, nil), "n-<n>", square, nearly())
	wantMessage(t, err, "has no Follow")
}

func TestOneNearCacheForAll(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, &cachify.Options{Near: &cachify.NearOptions{Bytes: 1 << 20}})
		f := cachify.Must(cachify.NewCached(c, "n-<n>", square, nil))
		g := cachify.Must(cachify.NewCached(c, "n-<n>", func(_ context.Context, n int) (string, error) { return fmt.Sprint(n), nil }, nil))
		for range 3 {
			equal(t, "number", warm(t, c, f, 3), 9)
			noError(t, f.Reset(t.Context(), 3))
			equal(t, "text under the same key", warm(t, c, g, 3), "3")
			noError(t, g.Reset(t.Context(), 3))
		}
	})
}

func TestNegativeIsNear(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		f := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (int, error) { return 0, fmt.Errorf("wrapped: %w", errNoRow) },
			&cachify.CachedOptions{Negative: []error{errNoRow}, Near: &cachify.NearOptions{}}))
		within(t, "a near hit", func() bool {
			_, err := f.Get(t.Context(), 1)
			return errors.Is(err, errNoRow) && c.Stats().NearHits > 3
		})
		equal(t, "loads", c.Stats().Loads, 1)
	})
}

// Wrappers of one template share a near cache, and what one has kept another may find: it must take nothing that is not its own.
func TestNearOfLookalikes(t *testing.T) {
	type user struct{ Name string }
	type person struct{ Name string }
	type pointed struct{ Name *string }
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, &cachify.Options{Near: &cachify.NearOptions{}})
		users := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (user, error) { return user{"Ann"}, nil }, nil))
		people := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (person, error) { return person{"Bob"}, nil }, nil))
		for range 3 {
			equal(t, "the user, who is in the store", warm(t, c, users, 1).Name, "Ann")
			equal(t, "the same as a person", warm(t, c, people, 1).Name, "Ann")
		}
		equal(t, "loads", c.Stats().Loads, 1)

		// The same text, and another error of the same text.
		here, there := errNoRow, errors.New(errNoRow.Error())
		for name, err := range map[string]error{"here": here, "there": there} {
			list := &cachify.CachedOptions{Negative: []error{err}}
			f := cachify.Must(cachify.NewCached(c, "none-<n>", func(context.Context, int) (pointed, error) { return pointed{}, err }, list))
			for range 5 {
				_, got := f.Get(t.Context(), 1)
				equal(t, "the error of the list "+name, got, err)
			}
		}
		other := cachify.Must(cachify.NewCached(c, "none-<n>", func(context.Context, int) (pointed, error) { return pointed{new("found")}, nil },
			&cachify.CachedOptions{Negative: []error{errNoTable}}))
		v, err := other.Get(t.Context(), 1)
		noError(t, err)
		equal(t, "value of a wrapper that does not remember such errors", *v.Name, "found")
	})
}

func TestNearWithATracer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, traced := tracedClient(t, cachify.Memory())
		opts := nearly()
		opts.TTL, opts.MaxStale, opts.Negative = time.Minute, time.Hour, []error{errNoRow}
		opts.Near.TTL = time.Hour
		f := newCached(c, func(_ context.Context, n int) (int, error) {
			if n < 0 {
				return 0, errNoRow
			}
			return n, nil
		}, opts)
		for _, want := range []string{"Get> cached:f-1 load; Get>Load> cached:f-1", "Get> cached:f-1 near", "Get> cached:f-1 near"} {
			_, err := f.Get(t.Context(), 1)
			noError(t, err)
			equal(t, "told", traced.told(t), want)
		}
		time.Sleep(2 * time.Minute)
		_, err := f.Get(t.Context(), 1)
		noError(t, err)
		synctest.Wait()
		equal(t, "told", traced.told(t), "Get> cached:f-1 stale; Get>Load> cached:f-1")
		equal(t, "near hits", c.Stats().NearHits, 3)
		for _, want := range []string{"Get> cached:f--1 load err; Get>Load> cached:f--1 err", "Get> cached:f--1 near err"} {
			_, err := f.Get(t.Context(), -1)
			wantError(t, err, errNoRow)
			equal(t, "told", traced.told(t), want)
		}
	})
}

// Once for each outage it is logged that changes can't be heard of, and why.
func TestNearLogsThatItIsDeaf(t *testing.T) {
	var logged logBuffer
	store := &mutableFeed{Store: cachify.Memory()}
	c := newClient(t, store, &cachify.Options{Logger: logged.logger()})
	cachify.Must(cachify.NewCached(c, "n-<n>", square, nearly()))
	for outage := range 3 {
		for range 3 {
			store.follower.Failed(errors.New("NOPERM"))
		}
		equal(t, "warnings", logged.count("level=WARN"), outage+1)
		equal(t, "with the cause", logged.count("NOPERM"), outage+1)
		store.follower.Live(true)
		store.follower.Live(false)
		store.follower.Live(true)
		equal(t, "ends", logged.count("tells of changes again"), outage+1)
	}
}

func TestCloseEndsNearHits(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := cachify.New(store, nil)
		f := cachify.Must(cachify.NewCached(c, "n-<n>", square, nearly()))
		warm(t, c, f, 1)
		noError(t, c.Close())
		before := c.Stats().NearHits
		_, err := f.Get(t.Context(), 1)
		noError(t, err)
		equal(t, "near hits", c.Stats().NearHits-before, 0)
	})
}
