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
	t.Run("a node with keys stopped", func(t *testing.T) {
		timely(t, func(t *testing.T, w *stopwatch) {
			w.want(stopNode(t, w, cluster, keys) > 0, "no hits on the other nodes")
		})
	})
	t.Run("the node with the tags stopped", func(t *testing.T) {
		timely(t, func(t *testing.T, w *stopwatch) { stopNode(t, w, cluster, tags) })
	})
}

func addrOf(t testing.TB, rdb *redis.ClusterClient, key string) string {
	node, err := rdb.MasterForKey(t.Context(), key)
	noError(t, err)
	return node.Options().Addr
}

// stopNode stops a node in the middle of traffic, for as long as the Cluster takes it for one of its own, and says how many
// hits there are meanwhile.
func stopNode(t *testing.T, w *stopwatch, cluster *redistest.Cluster, node *redistest.Server) (hits int64) {
	tr := startTraffic(t, w, cluster.Client(t), cluster.Client(t))
	time.Sleep(200 * time.Millisecond)
	tr.enter(fault)
	node.Stop()
	stopped := time.Now()
	time.Sleep(opTimeout) // for what was under way
	had := tr.hits()
	time.Sleep(time.Until(stopped.Add(3 * time.Second))) // a node counts as dead after 5 seconds
	hits = tr.hits() - had
	tr.enter(after)
	hit := tr.hit()
	node.Cont()
	back := eventually(t, resumed, "hits", hit)
	time.Sleep(300 * time.Millisecond)
	tr.finish()
	t.Logf("%d hits with the node stopped; hits on both clients %v after", hits, back)
	return hits
}
