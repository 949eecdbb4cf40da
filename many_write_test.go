package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"

	"github.com/go-cachify/cachify"
)

func TestResetManyAndPutMany(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		var runs atomic.Int64
		load := func(_ context.Context, n float64) (string, error) {
			runs.Add(1)
			return fmt.Sprint("loaded ", n), nil
		}
		here, there := newClient(t, store, nil), newClient(t, store, nil)
		f := cachify.Must(cachify.NewCached(here, "n-<n>", load, &cachify.CachedOptions{Tags: []string{"tag-<n>"}, Near: &cachify.NearOptions{}}))
		g := cachify.Must(cachify.NewCached(there, "n-<n>", load, &cachify.CachedOptions{Tags: []string{"tag-<n>"}}))
		check := func(what string, want ...string) {
			t.Helper()
			for _, c := range []*cachify.Cached[float64, string]{f, g} {
				got, err := c.GetMany(ctx, []float64{1, 2, 3})
				noError(t, err)
				equal(t, what, fmt.Sprint(got), fmt.Sprint(want))
			}
		}
		noError(t, f.PutMany(ctx, []float64{1, 2, 1}, []string{"first", "two", "one"}))
		check("after PutMany", "one", "two", "loaded 3")
		equal(t, "runs", runs.Load(), 1)
		noError(t, f.ResetMany(ctx, []float64{1, 3, 3}))
		check("after ResetMany", "loaded 1", "two", "loaded 3")
		noError(t, there.ResetTags(ctx, "tag-2"))
		eventually(t, "the reset arrives", func() bool {
			v, err := f.Get(ctx, 2)
			return err == nil && v == "loaded 2"
		})

		err := f.PutMany(ctx, []float64{math.NaN(), 1}, []string{"none", "one"})
		wantMessage(t, err, "NaN")
		check("beside one without a key", "one", "loaded 2", "loaded 3")
		err = f.ResetMany(ctx, []float64{1, math.NaN()})
		wantMessage(t, err, "NaN")
		check("beside one without a key", "loaded 1", "loaded 2", "loaded 3")
		wantMessage(t, f.PutMany(ctx, []float64{1}, nil), "1 arguments and 0 values")
		noError(t, f.ResetMany(ctx, nil))
		noError(t, f.PutMany(ctx, nil, nil))
	})
}

func TestGetManyIsNear(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		f := cachify.Must(cachify.NewCached(c, "n-<n>", square, nearly()))
		for _, n := range []int{1, 2, 3} {
			warm(t, c, f, n)
		}
		before := c.Stats()
		got, err := f.GetMany(t.Context(), []int{1, 2, 3, 4})
		noError(t, err)
		equal(t, "values", fmt.Sprint(got), "[1 4 9 16]")
		after := c.Stats()
		equal(t, "near hits", after.NearHits-before.NearHits, 3)
		equal(t, "loads", after.Loads-before.Loads, 1)
	})
}

func TestManyInAnOutage(t *testing.T) {
	store := &faultyStore{Store: cachify.Memory()}
	c := newClient(t, store, nil)
	f := cachify.Must(cachify.NewCached(c, "n-<n>", square, nil))
	noError(t, f.PutMany(t.Context(), []int{1, 2}, []int{-1, -2}))
	store.set(failing)
	wantError(t, f.ResetMany(t.Context(), []int{1, 2}), errDown)
	wantError(t, f.PutMany(t.Context(), []int{3}, []int{-3}), errDown)
	store.set(nil)
	got, err := f.GetMany(t.Context(), []int{1, 2, 3})
	noError(t, err)
	equal(t, "values after resets that failed", fmt.Sprint(got), "[1 4 9]")
}

func TestWarm(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		bad := errors.New("no square")
		f := cachify.Must(cachify.NewCached(c, "n-<n>", func(_ context.Context, n int) (int, error) {
			if n%100 == 7 {
				return 0, bad
			}
			return n * n, nil
		}, nil))
		args := make([]int, 1000)
		for i := range args {
			args[i] = i
		}
		calls, last, lost := 0, 0, 0
		err := f.Warm(t.Context(), args, &cachify.WarmOptions{Batch: 30, Progress: func(done, failed int) {
			calls++
			if done <= last || failed < lost {
				t.Errorf("progress went from %d to %d", last, done)
			}
			last, lost = done, failed
		}})
		wantError(t, err, bad)
		equal(t, "calls of Progress", calls, 34)
		equal(t, "done", last, 1000)
		equal(t, "failed", lost, 10)
		before := c.Stats().Loads
		_, err = f.GetMany(t.Context(), []int{0, 1, 999})
		noError(t, err)
		equal(t, "loads afterwards", c.Stats().Loads, before)

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantError(t, f.Warm(ctx, args, nil), context.Canceled)
		wantMessage(t, f.Warm(ctx, args, &cachify.WarmOptions{Batch: -1}), "neither may be negative")
	})
}
