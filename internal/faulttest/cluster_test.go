package faulttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// everything uses each method of two clients as processes would: what one changes, the other sees.
func everything(t *testing.T, mine, other redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	var version atomic.Int64
	version.Store(1)
	load := func(_ context.Context, key int64) (string, error) {
		return fmt.Sprintf("%d.%d", key, version.Load()), nil
	}
	opts := &cachify.CachedOptions{Tags: []string{"tag-<key>"}}
	c := newClient(t, mine)
	a := cachify.Must(cachify.NewCached(c, "everything-<key>", load, opts))
	b := cachify.Must(cachify.NewCached(newClient(t, other), "everything-<key>", load, opts))
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
	each(func(key int64) error { return c.ResetTags(ctx, fmt.Sprint("tag-", key)) })
	expect("ResetTags", 5)
	version.Store(6)
	noError(t, a.ResetAll(ctx))
	expect("ResetAll", 6)
	expectOnce(t, mine, other)
}

// expectOnce has two clients run a function under one lock.
func expectOnce(t *testing.T, mine, other redis.UniversalClient) {
	t.Helper()
	ctx := t.Context()
	running, end := make(chan struct{}), make(chan struct{})
	a := cachify.Must(cachify.NewOnce(newClient(t, mine), "everything", func(context.Context, struct{}) (string, error) {
		close(running)
		<-end
		return "a", nil
	}, nil))
	b := cachify.Must(cachify.NewOnce(newClient(t, other), "everything", func(context.Context, struct{}) (string, error) {
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

// TestCluster uses everything on a Cluster and then stops one of its nodes, in two ways: a node that has keys, and the one
// that has the tags too, which each call needs.
func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	everything(t, cluster.Client(t), cluster.Client(t))
	rdb := cluster.Client(t)
	tags := cluster.Nodes[slices.Index(cluster.Addrs(), addrOf(t, rdb, "fault:tag:{fault:tag}"))]
	keys := cluster.Nodes[(slices.Index(cluster.Nodes, tags)+1)%3]
	t.Run("a node with keys stopped", func(t *testing.T) { stopNode(t, cluster, keys, true) })
	t.Run("the node with the tags stopped", func(t *testing.T) { stopNode(t, cluster, tags, false) })
}

func addrOf(t testing.TB, rdb *redis.ClusterClient, key string) string {
	node, err := rdb.MasterForKey(t.Context(), key)
	noError(t, err)
	return node.Options().Addr
}

// stopNode stops a node in the middle of traffic for as long as the Cluster takes it for one of its own. hits says whether
// keys of the other nodes are still to be cached.
func stopNode(t *testing.T, cluster *redistest.Cluster, node *redistest.Server, hits bool) {
	tr := startTraffic(t, cluster.Client(t), cluster.Client(t))
	time.Sleep(200 * time.Millisecond)
	tr.enter(noticed)
	node.Stop()
	stopped := time.Now()
	time.Sleep(opTimeout) // for what was under way
	before := tr.hits()
	time.Sleep(time.Until(stopped.Add(3 * time.Second))) // a node counts as dead after 5 seconds
	during := tr.hits() - before
	tr.enter(back)
	hit := tr.hit()
	node.Cont()
	resumedAfter := eventually(t, resumed, "hits", hit)
	time.Sleep(300 * time.Millisecond)
	tr.finish()
	t.Logf("%d hits with the node stopped; hits on both clients %v after", during, resumedAfter)
	if hits && during == 0 {
		t.Error("no hits on the other nodes")
	}
}
