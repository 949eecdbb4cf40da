package faulttest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

// everything uses each method of two clients as processes would: what one changes, the other sees.
func everything(t *testing.T, name string, mine, other redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	var version atomic.Int64
	version.Store(1)
	load := func(_ context.Context, key int64) (string, error) {
		return fmt.Sprintf("%d.%d", key, version.Load()), nil
	}
	opts := &cachify.CachedOptions{Tags: []string{name + "-<key>"}}
	c := newClient(t, mine)
	a := cachify.Must(cachify.NewCached(c, name+"-<key>", load, opts))
	b := cachify.Must(cachify.NewCached(newClient(t, other), name+"-<key>", load, opts))
	var keys []int64
	for key := range int64(rows) {
		keys = append(keys, key)
	}
	// expect holds both clients to versions, the same for all keys.
	expect := func(what string, want int64) {
		t.Helper()
		for _, w := range []*cachify.Cached[int64, string]{a, b} {
			many, err := w.GetMany(ctx, keys)
			noError(t, err)
			for _, key := range keys {
				v, err := w.Get(ctx, key)
				if want := fmt.Sprintf("%d.%d", key, want); err != nil || v != want || many[key] != want {
					t.Fatalf("%s: key %d is %q and %q, %v; want %q", what, key, v, many[key], err, want)
				}
			}
		}
	}
	each := func(f func(key int64) error) {
		t.Helper()
		for _, key := range keys {
			noError(t, f(key))
		}
	}
	expect("Get", 1)
	version.Store(2)
	expect("Get of what is stored", 1)
	each(func(key int64) error { return a.Reset(ctx, key) })
	expect("Reset", 2)
	each(func(key int64) error { return a.Put(ctx, key, fmt.Sprintf("%d.3", key)) })
	expect("Put", 3)
	version.Store(4)
	each(func(key int64) error { _, err := a.Refresh(ctx, key); return err })
	expect("Refresh", 4)
	version.Store(5)
	each(func(key int64) error { return c.ResetTags(ctx, fmt.Sprint(name, "-", key)) })
	expect("ResetTags", 5)
	version.Store(6)
	noError(t, a.ResetAll(ctx))
	expect("ResetAll", 6)
	expectOnce(t, name, mine, other)
}

// expectOnce has two clients run a function under one lock.
func expectOnce(t *testing.T, name string, mine, other redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	running, end := make(chan struct{}), make(chan struct{})
	a := cachify.Must(cachify.NewOnce(newClient(t, mine), name, func(context.Context, struct{}) (string, error) {
		close(running)
		<-end
		return "a", nil
	}, nil))
	b := cachify.Must(cachify.NewOnce(newClient(t, other), name, func(context.Context, struct{}) (string, error) {
		return "b", nil
	}, nil))
	done := make(chan error, 1)
	go func() {
		v, err := a.Do(ctx, struct{}{})
		if err == nil && v != "a" {
			err = fmt.Errorf("Do gave %q", v)
		}
		done <- err
	}()
	<-running
	if _, err := b.Do(ctx, struct{}{}); !errors.Is(err, cachify.ErrLocked) {
		t.Errorf("Do under another's lock: error %v, want %v", err, cachify.ErrLocked)
	}
	close(end)
	noError(t, <-done)
	v, err := b.Do(ctx, struct{}{})
	if noError(t, err); v != "b" {
		t.Errorf("Do gave %q", v)
	}
}
