package faulttest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// A resettable is one process' view of three entries, each with its own way to be reset.
type resettable struct {
	client  *cachify.Client
	entries map[string]*cachify.Cached[struct{}, int64]
	resets  map[string]func(context.Context) error
}

func newResettable(t testing.TB, c *cachify.Client, source *atomic.Int64) *resettable {
	load := func(context.Context, struct{}) (int64, error) { return source.Load(), nil }
	wrap := func(template string, tags ...string) *cachify.Cached[struct{}, int64] {
		return cachify.Must(cachify.NewCached(c, template, load, &cachify.CachedOptions{Tags: tags}))
	}
	one, tagged, all := wrap("one"), wrap("tagged", "tag"), wrap("all")
	return &resettable{
		client:  c,
		entries: map[string]*cachify.Cached[struct{}, int64]{"Reset": one, "ResetTags": tagged, "ResetAll": all},
		resets: map[string]func(context.Context) error{
			"Reset":     func(ctx context.Context) error { return one.Reset(ctx, struct{}{}) },
			"ResetTags": func(ctx context.Context) error { return c.ResetTags(ctx, "tag") },
			"ResetAll":  func(ctx context.Context) error { return all.ResetAll(ctx) },
		},
	}
}

// expect gets all entries and says whether all are want.
func (r *resettable) expect(t testing.TB, want int64) bool {
	t.Helper()
	as := true
	for _, e := range r.entries {
		v, err := e.Get(t.Context(), struct{}{})
		if err != nil {
			t.Error(err)
		}
		as = as && v == want
	}
	return as
}

// TestResetInOutage resets entries that the server keeps through an outage. The resets fail in time, the process that asked
// for them does without the entries from then on, and the entries go soon after the server is back.
func TestResetInOutage(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end func(*redistest.Server, *redistest.Proxy)
	}{
		{"server stopped", func(s *redistest.Server, _ *redistest.Proxy) { s.Stop() }, func(s *redistest.Server, _ *redistest.Proxy) { s.Cont() }},
		{"connections refused", func(_ *redistest.Server, p *redistest.Proxy) { p.Refuse(true); p.Cut() },
			func(_ *redistest.Server, p *redistest.Proxy) { p.Refuse(false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				proxy := redistest.StartProxy(t, server.Addr())
				var source atomic.Int64
				source.Store(1)
				mine := newResettable(t, newClient(t, redistest.NewClient(t, proxy.Addr())), &source)
				other := newResettable(t, newClient(t, server.Client(t)), &source)
				if !mine.expect(t, 1) {
					t.Fatal("the first loads gave something else than version 1")
				}

				test.begin(server, proxy)
				source.Store(2)
				var group sync.WaitGroup
				took := w.time("resets", opTimeout, func() {
					for name, reset := range mine.resets {
						group.Go(func() {
							if reset(t.Context()) == nil {
								t.Errorf("%s in an outage gave no error", name)
							}
						})
					}
					group.Wait()
				})
				if n := mine.client.Stats().PendingReset; n != 3 {
					t.Errorf("%d resets are pending, want 3", n)
				}
				stop := make(chan struct{})
				var gets int
				group.Go(func() { // never serves an old entry
					for !isClosed(stop) {
						if gets++; !mine.expect(t, 2) {
							t.Error("an old entry was served after its Reset")
							return
						}
					}
				})
				test.end(server, proxy)
				gone := eventually(t, resumed, "the old entries are gone", func() bool { return other.expect(t, 2) })
				eventually(t, resumed, "no reset is pending", func() bool { return mine.client.Stats().PendingReset == 0 })
				hits := mine.client.Stats().Hits
				eventually(t, resumed, "hits", func() bool { return mine.client.Stats().Hits > hits })
				close(stop)
				group.Wait()
				t.Logf("3 resets failed in %v; old entries gone %v after the end; %d rounds of gets meanwhile, none old", took, gone, gets)
			})
		})
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
