package redistest

import (
	"fmt"
	"testing"
	"time"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	start := time.Now()
	c := StartCluster(t)
	t.Logf("up after %v", time.Since(start).Round(time.Millisecond))
	ctx, rdb := t.Context(), c.Client(t)
	for i := range 100 {
		key := fmt.Sprint("key-", i)
		if err := rdb.Set(ctx, key, i, 0).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := rdb.Get(ctx, key).Int(); got != i || err != nil {
			t.Fatalf("%d, %v", got, err)
		}
	}
	for _, s := range c.Nodes {
		if n, err := s.Client(t).DBSize(ctx).Result(); n < 10 || err != nil {
			t.Errorf("node %s has %d of 100 keys, %v", s.Addr(), n, err)
		}
	}
}

func TestClusterNodeComesBack(t *testing.T) {
	t.Parallel()
	c := StartCluster(t)
	ctx, rdb := t.Context(), c.Client(t)
	c.Nodes[1].Restart()
	// The node knows its slots again and serves them, empty, after Redis' delay of two seconds.
	if err := c.serves(ctx, c.Nodes[1]); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if err := rdb.Set(ctx, fmt.Sprint("key-", i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}
