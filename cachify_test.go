package cachify_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

func TestNewErrors(t *testing.T) {
	memory := cachify.Memory()
	tests := []struct {
		name  string
		store cachify.Store
		opts  cachify.Options
		want  string
	}{
		{"nil store", nil, cachify.Options{}, "the store is nil"},
		{"nil Redis client", cachify.Redis(nil), cachify.Options{}, "the Redis client is nil"},
		{"nil *redis.Client", cachify.Redis((*redis.Client)(nil)), cachify.Options{}, "the Redis client is nil"},
		{"prefix", memory, cachify.Options{Prefix: "a{}b:"}, "Options.Prefix"},
		{"negative TTL", memory, cachify.Options{TTL: -time.Second}, "Options.TTL"},
		{"negative lock TTL", memory, cachify.Options{LockTTL: -2}, "Options.LockTTL"},
		{"tiny lock TTL", memory, cachify.Options{LockTTL: time.Millisecond - 1}, "Options.LockTTL"},
		{"negative timeout", memory, cachify.Options{OpTimeout: -1}, "Options.OpTimeout"},
		{"negative jitter", memory, cachify.Options{Jitter: -0.1}, "Options.Jitter"},
		{"large jitter", memory, cachify.Options{Jitter: 1.1}, "Options.Jitter"},
		{"NaN jitter", memory, cachify.Options{Jitter: math.NaN()}, "Options.Jitter"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := cachify.New(test.store, &test.opts)
			cached, err := cachify.NewCached(c, "f-<n>", square, nil)
			wantMessage(t, err, test.want)
			once, onceErr := cachify.NewOnce(c, "f-<n>", square, nil)
			wantMessage(t, onceErr, test.want)
			if cached != nil || once != nil {
				t.Error("a wrapper came with the error")
			}
			wantMessage(t, c.ResetTags(t.Context(), "tag"), test.want)
			noError(t, c.Close())
		})
	}
	t.Run("nil client", func(t *testing.T) {
		_, err := cachify.NewCached(nil, "f-<n>", square, nil)
		wantMessage(t, err, "the client is nil")
		_, err = cachify.NewOnce(nil, "f-<n>", square, nil)
		wantMessage(t, err, "the client is nil")
	})
	t.Run("several at once", func(t *testing.T) {
		_, err := cachify.NewCached(cachify.New(nil, &cachify.Options{TTL: -2}), "f-<n>", square, nil)
		wantMessage(t, err, "the store is nil")
		wantMessage(t, err, "Options.TTL")
	})
}

func TestMust(t *testing.T) {
	equal(t, "Must", cachify.Must(7, nil), 7)
	cause := errors.New("no")
	defer func() { equal(t, "panic", recover(), any(cause)) }()
	cachify.Must(7, cause)
}

func TestClientsSideBySide(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newClient(t, store, &cachify.Options{Prefix: "here:"}), newClient(t, store, &cachify.Options{Prefix: "there:"})
		names := map[*cachify.Client]string{here: "here", there: "there"}
		wrappers := map[*cachify.Client]*cachify.Cached[int, string]{}
		for c, name := range names {
			wrappers[c] = newCached(c, func(ctx context.Context, _ int) (string, error) {
				cachify.AddTags(ctx, "tag")
				return name, nil
			}, nil)
			key, err := wrappers[c].Key(1)
			noError(t, err)
			equal(t, "key", key, name+":cached:f-1")
		}
		present := func(c *cachify.Client) bool {
			v, ok, err := wrappers[c].Peek(ctx, 1)
			if err != nil || ok && v != names[c] {
				t.Fatalf("Peek gave %q, %v", v, err)
			}
			return ok
		}
		for name, reset := range map[string]func() error{
			"Reset":     func() error { return wrappers[here].Reset(ctx, 1) },
			"ResetAll":  func() error { return wrappers[here].ResetAll(ctx) },
			"ResetTags": func() error { return here.ResetTags(ctx, "tag") },
		} {
			for c, want := range names {
				v, err := wrappers[c].Get(ctx, 1)
				noError(t, err)
				equal(t, "value", v, want)
			}
			noError(t, reset())
			if present(here) || !present(there) {
				t.Fatalf("%s: entries present: here %v, there %v", name, present(here), present(there))
			}
		}
	})
}

func TestClientsOverOneStoreShareData(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		one, other := cachify.New(store, nil), newClient(t, store, nil)
		p := newPuppet(t)
		p1, p2 := newCached(one, p.fn, nil), newCached(other, p.fn, nil)
		noError(t, p1.Put(ctx, 1, "put"))
		v, err := p2.Get(ctx, 1)
		noError(t, err)
		equal(t, "value", v, "put")
		noError(t, one.Close())
		v, err = p2.Get(ctx, 1)
		noError(t, err)
		equal(t, "value after the other's Close", v, "put")

		// What needs notifications works on as well.
		third := newCached(newClient(t, store, nil), p.fn, nil)
		leader := async(func() (string, error) { return p2.Get(ctx, 2) })
		r := p.next(t)
		waiter := async(func() (string, error) { return third.Get(ctx, 2) })
		r.returns("loaded")
		gives(t, leader, "loaded")
		gives(t, waiter, "loaded")
		p.idle(t)
	})
}
