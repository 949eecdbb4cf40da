package cachify_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

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
