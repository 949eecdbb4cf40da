package cachify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

type article struct {
	ID     int
	Author string
}

func TestResetTags(t *testing.T) {
	articles := []article{{1, "ann"}, {2, "ann"}, {3, "bob"}, {4, "cid"}}
	tests := []struct {
		tags []string
		gone []int
	}{
		{[]string{"author-ann"}, []int{1, 2}},
		{[]string{"author-bob", "author-cid"}, []int{3, 4}},
		{[]string{"odd", "author-ann"}, []int{1, 2, 3}},
		{[]string{"even"}, []int{2, 4}},
		{[]string{"all"}, []int{1, 2, 3, 4}},
		{[]string{"nobody's", "author-", "author"}, nil},
		{nil, nil},
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		f := cachify.Must(cachify.NewCached(c, "article-<id>-<author>", func(ctx context.Context, a article) (int, error) {
			cachify.AddTags(ctx, map[bool]string{true: "odd", false: "even"}[a.ID%2 == 1])
			cachify.AddTags(ctx, "", "odd-or-even")
			return a.ID, nil
		}, &cachify.CachedOptions{Tags: []string{"author-<author>", "all"}}))
		for _, test := range tests {
			t.Run(strings.Join(test.tags, ","), func(t *testing.T) {
				ctx := t.Context()
				_, err := f.GetMany(ctx, articles)
				noError(t, err)
				noError(t, c.ResetTags(ctx, test.tags...))
				var gone []int
				for _, a := range articles {
					_, ok, err := f.Peek(ctx, a)
					noError(t, err)
					if !ok {
						gone = append(gone, a.ID)
					}
				}
				if !slices.Equal(gone, test.gone) {
					t.Fatalf("gone: %v, want %v", gone, test.gone)
				}
				before := c.Stats().Loads
				vs, err := f.GetMany(ctx, articles)
				noError(t, err)
				equal(t, "values", fmt.Sprint(vs), "[1 2 3 4]")
				equal(t, "loads", c.Stats().Loads-before, int64(len(test.gone)))
			})
		}
	})
}

func TestResetTagsErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	wantMessage(t, c.ResetTags(t.Context(), "a", ""), "a tag is empty")
	wantMessage(t, (*cachify.Client)(nil).ResetTags(t.Context(), "a"), "the client is nil")
	equal(t, "resets", c.Stats().Resets, 0)
}

func TestPutIsUnderTheTagsOfTheOptions(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		f := newCached(c, square, &cachify.CachedOptions{Tags: []string{"tag-<n>"}})
		for n := range 2 {
			noError(t, f.Put(ctx, n, 100))
		}
		noError(t, c.ResetTags(ctx, "tag-1"))
		for n, want := range []int{100, 1} {
			v, err := f.Get(ctx, n)
			noError(t, err)
			equal(t, "value", v, want)
		}
	})
}

func TestResetAllTouchesItsWrapperOnly(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		templates := []string{"a-<n>", "a-<n>-", "b-<n>"}
		wrappers := map[string]*cachify.Cached[int, int]{}
		for _, template := range templates {
			wrappers[template] = cachify.Must(cachify.NewCached(c, template, square, &cachify.CachedOptions{Tags: []string{"shared"}}))
		}
		for _, reset := range templates {
			for _, template := range templates {
				_, err := wrappers[template].GetMany(ctx, []int{1, 2, 3})
				noError(t, err)
			}
			noError(t, wrappers[reset].ResetAll(ctx))
			for _, template := range templates {
				for n := range 3 {
					_, ok, err := wrappers[template].Peek(ctx, n+1)
					noError(t, err)
					equal(t, fmt.Sprintf("%s there after ResetAll of %s", template, reset), ok, template != reset)
				}
			}
		}
	})
}

// A tag that is gone counts as reset, so it has to live as long as the entries that carry it.
func TestTagsLiveAsLongAsTheirEntries(t *testing.T) {
	const ttl = 30 * 24 * time.Hour
	for _, ttl := range []time.Duration{ttl, cachify.NoExpiry} {
		t.Run(ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				c := newClient(t, cachify.Memory(), nil)
				f := newCached(c, func(ctx context.Context, n int) (int, error) {
					cachify.AddTags(ctx, "added")
					return n, nil
				}, &cachify.CachedOptions{Tags: []string{"static"}, TTL: ttl})
				noError(t, f.ResetAll(ctx)) // from here on, freshness hangs on the tags themselves
				noError(t, c.ResetTags(ctx, "added", "static"))
				_, err := f.Get(ctx, 1)
				noError(t, err)
				for range 29 {
					time.Sleep(24 * time.Hour)
					noError(t, c.ResetTags(ctx, "another"))
					_, ok, err := f.Peek(ctx, 1)
					noError(t, err)
					equal(t, "there", ok, true)
				}
				noError(t, c.ResetTags(ctx, "added"))
				_, ok, err := f.Peek(ctx, 1)
				noError(t, err)
				equal(t, "there after the reset", ok, false)
			})
		})
	}
}

// The promise holds for tags that a load adds only after they were reset. What readers share must hold it too, stored or not.
func TestTagsAddedAfterTheirReset(t *testing.T) {
	tests := map[string]func(context.Context){
		"stored":      func(context.Context) {},
		"NoStore":     cachify.NoStore,
		"SetTTL zero": setTTL(0),
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, inside := range tests {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				p := newPair(t, store, nil)
				noError(t, p.hereCached.Put(ctx, 1, "warm")) // from here on the wrapper's own tag is there
				noError(t, p.hereCached.Reset(ctx, 1))
				leader := p.get(ctx)
				old := p.next(t)
				before := p.get(ctx)
				p.waiting(t, 1, 0)
				noError(t, p.there.ResetTags(ctx, "tag"))
				after := p.get(ctx) // it can't know yet that the load will carry the tag
				p.waiting(t, 2, 0)
				old.ends(func() (string, error) {
					cachify.AddTags(old.ctx, "tag")
					inside(old.ctx)
					return "old", nil
				})
				gives(t, leader, "old")
				select {
				case r := <-p.runs:
					r.returns("new")
				case got := <-after:
					t.Fatalf("the reader got %q, %v: loaded before the reset that the reader began after", got.value, got.err)
				}
				gives(t, after, "new")
				if got := receive(t, "who began before the reset", before); got.err != nil {
					t.Error(got.err)
				}
				p.stored(t, "new")
			})
		}
	})
}

// A batch has one lease for all its keys, but resets concern single ones.
func TestResetsDuringABatch(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c, other := newClient(t, store, nil), newClient(t, store, nil)
		opts := &cachify.CachedOptions{Tags: []string{"tag-<n>"}}
		begun, end := make(chan bool), make(chan bool)
		f := newCached(c, square, opts).Batch(func(_ context.Context, ns []int) ([]int, error) {
			begun <- true
			<-end
			return make([]int, len(ns)), nil
		})
		g := newCached(other, square, opts)
		for n := range 4 { // from here on all the tags are there
			noError(t, g.Put(ctx, n+1, 0))
			noError(t, g.Reset(ctx, n+1))
		}
		call := async(func() (string, error) {
			vs, err := f.GetMany(ctx, []int{1, 2, 3, 4})
			return fmt.Sprint(vs), err
		})
		receive(t, "the batch", begun)
		noError(t, g.Reset(ctx, 2))
		noError(t, other.ResetTags(ctx, "tag-3"))
		noError(t, g.Put(ctx, 4, 100))
		end <- true
		gives(t, call, "[0 0 0 0]")
		for n, want := range []int{0, 4, 9, 100} {
			v, err := f.Get(ctx, n+1)
			noError(t, err)
			equal(t, fmt.Sprint("value of ", n+1), v, want)
		}
	})
}

// What overtakes a load: its own caller gets the value, the store never does, and nobody joins it who comes later.
func TestLoadsNeverWinOverWhatBeganLater(t *testing.T) {
	events := []struct {
		name  string
		event func(p *pair, ctx context.Context) error
		left  string // in the store
	}{
		{"Reset there", func(p *pair, ctx context.Context) error { return p.thereCached.Reset(ctx, 1) }, ""},
		{"Reset here", func(p *pair, ctx context.Context) error { return p.hereCached.Reset(ctx, 1) }, ""},
		{"ResetAll", func(p *pair, ctx context.Context) error { return p.thereCached.ResetAll(ctx) }, ""},
		{"ResetTags there", func(p *pair, ctx context.Context) error { return p.there.ResetTags(ctx, "other", "tag-1") }, ""},
		{"ResetTags here", func(p *pair, ctx context.Context) error { return p.here.ResetTags(ctx, "tag-1") }, ""},
		{"Put there", func(p *pair, ctx context.Context) error { return p.thereCached.Put(ctx, 1, "put") }, "put"},
		{"Put here", func(p *pair, ctx context.Context) error { return p.hereCached.Put(ctx, 1, "put") }, "put"},
	}
	kinds := []struct {
		name   string
		call   func(p *pair) cachify.Func[int, string]
		before string
	}{
		{"a load", func(p *pair) cachify.Func[int, string] { return p.hereCached.Get }, ""},
		{"a refresh of nothing", func(p *pair) cachify.Func[int, string] { return p.hereCached.Refresh }, ""},
		{"a refresh of a value", func(p *pair) cachify.Func[int, string] { return p.hereCached.Refresh }, "before"},
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, event := range events {
			for _, kind := range kinds {
				start := func(t *testing.T) (*pair, *run, <-chan result[string]) {
					ctx := t.Context()
					p := newPair(t, store, &cachify.CachedOptions{Tags: []string{"tag-<n>"}})
					noError(t, p.hereCached.Reset(ctx, 1))
					if kind.before != "" {
						noError(t, p.hereCached.Put(ctx, 1, kind.before))
					}
					old := async(func() (string, error) { return kind.call(p)(ctx, 1) })
					r := p.next(t)
					noError(t, event.event(p, ctx))
					return p, r, old
				}
				t.Run(event.name+" during "+kind.name, func(t *testing.T) {
					p, r, old := start(t)
					r.returns("old")
					gives(t, old, "old")
					p.stored(t, event.left)
					p.idle(t)
				})
				t.Run(event.name+" during "+kind.name+", with readers", func(t *testing.T) {
					ctx := t.Context()
					p, r, old := start(t)
					want := event.left
					reader, readerThere := p.get(ctx), p.getThere(ctx)
					if want == "" {
						want = "new"
						p.next(t).returns(want)
					}
					gives(t, reader, want)
					gives(t, readerThere, want)
					r.returns("old")
					gives(t, old, "old")
					p.stored(t, want)
					p.idle(t)
				})
				if t.Failed() {
					return // the others would take their time to fail
				}
			}
		}
	})
}

func TestRefreshNeverJoinsAnOlderLoad(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, oldFirst := range map[string]bool{"the load ends first": true, "the refresh ends first": false} {
			t.Run(name, func(t *testing.T) {
				ctx := t.Context()
				p := newPair(t, store, nil)
				noError(t, p.hereCached.Reset(ctx, 1))
				old := p.get(ctx)
				oldRun := p.next(t)
				refresh := async(func() (string, error) { return p.thereCached.Refresh(ctx, 1) })
				newRun := p.next(t)
				readers := []<-chan result[string]{p.get(ctx), p.getThere(ctx)} // they join the refresh
				eventually(t, "the readers wait", func() bool { return p.here.Stats().Waits > 0 && p.there.Stats().Waits > 0 })
				ends := []func(){
					func() { oldRun.returns("old"); gives(t, old, "old") },
					func() { newRun.returns("new"); gives(t, refresh, "new") },
				}
				if !oldFirst {
					slices.Reverse(ends)
				}
				for _, end := range ends {
					end()
				}
				for _, reader := range readers {
					gives(t, reader, "new")
				}
				p.stored(t, "new")
				p.idle(t)
			})
		}
	})
}

// Of two refreshes of one value, what the older one stores does not outlive the younger one, whose caller has seen more.
func TestOverlappingRefreshes(t *testing.T) {
	tests := map[string]struct {
		oldFirst bool
		left     string
	}{
		"the older ends first":   {true, ""},
		"the younger ends first": {false, "new"},
	}
	for name, test := range tests {
		for where, there := range map[string]bool{"in one process": false, "in two": true} {
			t.Run(name+", "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx := t.Context()
					p := newPair(t, cachify.Memory(), nil)
					noError(t, p.hereCached.Put(ctx, 1, "before"))
					younger := p.hereCached
					if there {
						younger = p.thereCached
					}
					var calls []<-chan result[string]
					var runs []*run
					for _, f := range []*cachify.Cached[int, string]{p.hereCached, younger} {
						calls = append(calls, async(func() (string, error) { return f.Refresh(ctx, 1) }))
						runs = append(runs, p.next(t))
						time.Sleep(time.Millisecond)
						gives(t, p.get(ctx), "before") // callers get the old value meanwhile
					}
					order := []int{0, 1}
					if !test.oldFirst {
						slices.Reverse(order)
					}
					for _, i := range order {
						v := []string{"old", "new"}[i]
						runs[i].returns(v)
						gives(t, calls[i], v)
					}
					p.stored(t, test.left)
				})
			})
		}
	}
}
