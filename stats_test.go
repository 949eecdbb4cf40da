package cachify_test

import (
	"context"
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
