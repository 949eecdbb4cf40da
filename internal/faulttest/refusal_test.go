package faulttest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestRefusal has a server that answers, but not as asked: it is full, or a replica, or lacks one. That is no outage: the
// breaker stays closed, and what can still be read is.
func TestRefusal(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end []any
		hits       bool // values are still given out
		reset      bool // Reset still works
	}{
		{name: "full", begin: []any{"CONFIG", "SET", "maxmemory", 1}, end: []any{"CONFIG", "SET", "maxmemory", 0}, hits: true, reset: true},
		{
			name: "too few replicas", hits: true,
			begin: []any{"CONFIG", "SET", "min-replicas-to-write", 1}, end: []any{"CONFIG", "SET", "min-replicas-to-write", 0},
		},
		// A replica may still have what a Reset has removed, so it serves no hits.
		{name: "read-only replica", begin: []any{"REPLICAOF", "127.0.0.1", 1}, end: []any{"REPLICAOF", "NO", "ONE"}},
		{name: "no permission", begin: []any{"ACL", "SETUSER", "default", "-set", "-evalsha", "-eval"}, end: []any{"ACL", "SETUSER", "default", "+@all"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t)
			operator := server.Client(t)
			w := newCounted(t, server.Client(t))
			w.expect(0, rows, loaded)
			w.expect(0, rows, stored)
			noError(t, operator.Do(t.Context(), test.begin...).Err())
			old := loaded
			if test.hits {
				old = stored
			}
			began := time.Now()
			w.expect(0, rows, old)
			w.expect(rows, 2*rows, loaded)
			w.expect(rows, 2*rows, loaded) // they could not be stored
			took := short(time.Since(began) / (3 * rows))
			resetErr := w.cached.Reset(t.Context(), 0)
			if (resetErr == nil) != test.reset {
				t.Errorf("Reset: error %v, want one: %t", resetErr, !test.reset)
			}
			w.expect(0, 1, loaded)
			if _, err := w.once.Do(t.Context(), 0); err == nil || w.ran.Load() != 0 {
				t.Errorf("Once: error %v, %d runs without a lock", err, w.ran.Load())
			}
			if n := w.client.Stats().Outages; n != 0 {
				t.Errorf("the breaker opened %d times", n)
			}

			noError(t, operator.Do(t.Context(), test.end...).Err())
			eventually(t, resumed, "no reset is pending", func() bool { return w.client.Stats().PendingReset == 0 })
			w.expect(0, 1, loaded)
			w.expect(rows, 2*rows, loaded)
			w.expect(rows, 2*rows, stored)
			_, err := w.once.Do(t.Context(), 0)
			noError(t, err)
			t.Logf("no errors; old values from the cache: %t; %v for a get on average; Reset: %v", test.hits, took, resetErr)
		})
	}
}

// counted are wrappers that tell hits from loads.
type counted struct {
	t      testing.TB
	client *cachify.Client
	cached *cachify.Cached[int64, string]
	once   *cachify.Once[int64, string]
	loads  atomic.Int64
	ran    atomic.Int64 // the function of once
}

const (
	loaded = true
	stored = false
)

func newCounted(t testing.TB, rdb redis.UniversalClient) *counted {
	c := &counted{t: t, client: newClient(t, rdb)}
	load := func(_ context.Context, key int64) (string, error) {
		c.loads.Add(1)
		return fmt.Sprint("row ", key), nil
	}
	c.cached = cachify.Must(cachify.NewCached(c.client, "counted-<key>", load, nil))
	c.once = cachify.Must(cachify.NewOnce(c.client, "counted-<key>", func(context.Context, int64) (string, error) {
		c.ran.Add(1)
		return "", nil
	}, nil))
	return c
}

// expect gets rows and holds each to where it is to come from.
func (c *counted) expect(from, to int64, fromLoad bool) {
	c.t.Helper()
	for key := from; key < to; key++ {
		before := c.loads.Load()
		v, err := c.cached.Get(c.t.Context(), key)
		if err != nil || v != fmt.Sprint("row ", key) {
			c.t.Fatalf("get %d gave %q, %v", key, v, err)
		}
		if loaded := c.loads.Load() != before; loaded != fromLoad {
			c.t.Fatalf("get %d: loaded %t, want %t", key, loaded, fromLoad)
		}
	}
}
