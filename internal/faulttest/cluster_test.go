package faulttest

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

// TestCluster uses everything on a Cluster and then stops one of its nodes, in two ways: a node that has keys, and the one
// that has the tags too, which each call needs.
func TestCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	everything(t, "all", cluster.Client(t), cluster.Client(t))
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
