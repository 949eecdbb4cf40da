package cachify_test

import (
	"context"
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func TestStatsOfWrappers(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, &cachify.Options{Near: &cachify.NearOptions{}})
		f := cachify.Must(cachify.NewCached(c, "f-<n>", square, nil))
		g := cachify.Must(cachify.NewCached(c, "g-<n>", square, nil))
		lock := cachify.Must(cachify.NewLock[int](c, "f-<n>", nil)) // the template of a cached function
		sem := cachify.Must(cachify.NewSemaphore[int](c, "s-<n>", 1, nil))
		once := cachify.Must(cachify.NewOnce(c, "o-<n>", square, nil))

		warm(t, c, f, 1)
		hits := f.Stats().Hits + f.Stats().NearHits
		_, err := f.Batch(func(_ context.Context, ns []int) ([]int, error) { return ns, nil }).GetMany(ctx, []int{1, 2, 3})
		noError(t, err)
		_, err = g.Get(ctx, 1)
		noError(t, err)
		noError(t, g.Reset(ctx, 1))
		noError(t, g.ResetAll(ctx))
		noError(t, g.Put(ctx, 1, 1))
		noError(t, lock.Do(ctx, 1, func(context.Context) error { return nil }))
		noError(t, sem.Do(ctx, 1, func(context.Context) error { return nil }))
		_, err = once.Do(ctx, 1)
		noError(t, err)

		want := []cachify.Stats{
			{Kind: "cached", Template: "f-<n>", Misses: 3, Loads: 2, Hits: hits + 1},
			{Kind: "cached", Template: "g-<n>", Misses: 1, Loads: 1, Resets: 2, InvalidationsSent: 3},
			{Kind: "lock", Template: "f-<n>", Leases: 1},
			{Kind: "once", Template: "o-<n>", Leases: 1},
			{Kind: "sem", Template: "s-<n>", Leases: 1},
		}
		one := []cachify.Stats{f.Stats(), g.Stats(), lock.Stats(), once.Stats(), sem.Stats()}
		equal(t, "the wrappers' own", fmt.Sprint(c.WrapperStats()), fmt.Sprint(one))
		for i, got := range one {
			got.Hits, got.NearHits, got.LoadTime = got.Hits+got.NearHits, 0, 0 // of which is how many, the feed decides
			equal(t, "counts", got, want[i])
		}
	})
}

// The counts of a client are the sums of those of its wrappers, and what belongs to none.
func TestStatsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, followedStore{store, store.Store.(cachify.Followed)}, nil)
		opts := &cachify.CachedOptions{TTL: time.Minute, MaxStale: time.Hour, Near: &cachify.NearOptions{}}
		load := func(_ context.Context, n int) (int, error) { time.Sleep(time.Second); return n, nil }
		f, g := cachify.Must(cachify.NewCached(c, "f-<n>", load, opts)), cachify.Must(cachify.NewCached(c, "g-<n>", load, opts))
		for _, w := range []*cachify.Cached[int, int]{f, g} {
			for range 3 {
				_, err := w.Get(ctx, 1)
				noError(t, err)
			}
			time.Sleep(2 * time.Minute)
			_, err := w.Get(ctx, 1) // stale
			noError(t, err)
			synctest.Wait()
		}
		lock := cachify.Must(cachify.NewLock[int](c, "l-<n>", nil))
		noError(t, lock.Do(ctx, 1, func(context.Context) error { return nil }))
		store.set(failing)
		_ = f.Reset(ctx, 1)
		_, _ = lock.TryAcquire(ctx, 1)
		_, err := g.Get(ctx, 2)
		noError(t, err)
		store.set(nil)
		time.Sleep(time.Minute)

		sum := reflect.ValueOf(new(cachify.Stats)).Elem()
		for _, s := range c.WrapperStats() {
			for i := range sum.NumField() {
				if field := sum.Field(i); field.CanInt() {
					field.SetInt(field.Int() + reflect.ValueOf(s).Field(i).Int())
				}
			}
		}
		total := c.Stats()
		got := sum.Interface().(cachify.Stats)
		if got.StoreErrors == 0 || got.StoreErrors > total.StoreErrors {
			t.Errorf("%d store errors of wrappers, %d of all", got.StoreErrors, total.StoreErrors)
		}
		equal(t, "resets that the background did", total.ResetRetries, 1)
		equal(t, "invalidations sent by the background", total.InvalidationsSent-got.InvalidationsSent, 1)
		if total.InvalidationsReceived == 0 {
			t.Error("no invalidations were received")
		}
		equal(t, "leases, without those of refreshes", total.Leases, 1)
		total.StoreErrors, total.ResetRetries, total.InvalidationsSent, total.InvalidationsReceived, total.Outages = 0, 0, 0, 0, 0
		got.StoreErrors, got.InvalidationsSent = 0, 0
		equal(t, "all", total, got)
		if got.Stale == 0 || got.Refreshes == 0 || got.Bypasses == 0 || got.LoadTime < 4*time.Second {
			t.Errorf("%+v", got)
		}
	})
}

// Wrappers that are made anew all the time are counted in one place.
func TestStatsDoNotGrow(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	for range 100 {
		_, err := newCached(c, square, nil).Get(t.Context(), 1)
		noError(t, err)
	}
	_, err := cachify.NewCached(c, "bad-<n", square, nil)
	if err == nil {
		t.Error("no error")
	}
	all := c.WrapperStats()
	equal(t, "wrappers", len(all), 1)
	equal(t, "hits", all[0].Hits, 99)
}
