package faulttest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// tripCounter is a hook that counts what a client waits for: a command or a pipeline, each one round trip.
type tripCounter struct{ trips atomic.Int64 }

func (c *tripCounter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *tripCounter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (c *tripCounter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips.Add(1)
		return next(ctx, cmds)
	}
}

type tagged struct{ Key int64 }

// TestRoundTrips counts them at the client, and the commands at the server, for a number of calls of each kind.
func TestRoundTrips(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	counter := new(tripCounter)
	rdb.AddHook(counter)
	c := newClient(t, rdb)
	ctx := t.Context()
	load := func(_ context.Context, a tagged) (string, error) { return fmt.Sprint(a.Key), nil }
	plain := cachify.Must(cachify.NewCached(c, "plain-<key>", load, nil))
	withTag := cachify.Must(cachify.NewCached(c, "tagged-<key>", load, &cachify.CachedOptions{Tags: []string{"tag-<key>"}}))
	once := cachify.Must(cachify.NewOnce(c, "once-<key>", load, nil))
	get := func(w *cachify.Cached[tagged, string]) func(int64) error {
		return func(i int64) error {
			v, err := w.Get(ctx, tagged{i})
			if err == nil && v != fmt.Sprint(i) {
				err = fmt.Errorf("got %q for %d", v, i)
			}
			return err
		}
	}
	const n = 100
	var all []tagged
	for i := range int64(n) {
		all = append(all, tagged{i})
	}
	// What comes first once: the connection, the scripts, the prefix' first stamp.
	noError(t, get(withTag)(-1))
	noError(t, plain.Reset(ctx, tagged{-1}))
	noError(t, c.ResetTags(ctx, "tag--1"))
	_, err := once.Do(ctx, tagged{-1})
	noError(t, err)

	for _, test := range []struct {
		name  string
		calls int64
		call  func(i int64) error
		trips int64 // for each call
	}{
		{"miss", n, get(plain), 2},
		{"hit", n, get(plain), 1},
		{"GetMany of 100 hits", 1, func(int64) error { _, err := plain.GetMany(ctx, all); return err }, 1},
		{"Peek", n, func(i int64) error { _, _, err := plain.Peek(ctx, tagged{i}); return err }, 1},
		{"Refresh of a value", n, func(i int64) error { _, err := plain.Refresh(ctx, tagged{i}); return err }, 2},
		{"Put", n, func(i int64) error { return plain.Put(ctx, tagged{i}, fmt.Sprint(i)) }, 2},
		{"Reset", n, func(i int64) error { return plain.Reset(ctx, tagged{i}) }, 1},
		{"miss with a tag", n, get(withTag), 2},
		{"hit with a tag", n, get(withTag), 1},
		{"ResetTags", n, func(i int64) error { return c.ResetTags(ctx, fmt.Sprintf("tag-%d", i)) }, 1},
		{"miss after ResetTags", n, get(withTag), 4}, // two more to make room for the lease
		{"ResetAll", 1, func(int64) error { return withTag.ResetAll(ctx) }, 1},
		{"Once.Do", n, func(i int64) error { _, err := once.Do(ctx, tagged{i}); return err }, 2},
	} {
		server.ResetCalls()
		before := counter.trips.Load()
		for i := range test.calls {
			if err := test.call(i); err != nil {
				t.Fatalf("%s: %v", test.name, err)
			}
		}
		trips := counter.trips.Load() - before
		t.Logf("%s: %d calls, %d round trips; commands: %s", test.name, test.calls, trips, list(server.Calls()))
		if trips != test.calls*test.trips {
			t.Errorf("%s: %d round trips for %d calls, want %d for each", test.name, trips, test.calls, test.trips)
		}
	}
}

// list gives the calls of each command in one line.
func list(calls map[string]int) string {
	var s []string
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		s = append(s, fmt.Sprintf("%s %d", name, calls[name]))
	}
	return strings.Join(s, ", ")
}
