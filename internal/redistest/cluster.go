package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// A Cluster is a Redis Cluster of three masters without replicas.
type Cluster struct {
	Nodes []*Server
}

// StartCluster starts a Cluster and returns when every node serves. That takes a little over two seconds,
// for which a new Redis Cluster node refuses to serve. config adds lines of redis.conf to each node. It needs [Need].
func StartCluster(t testing.TB, config ...string) *Cluster {
	t.Helper()
	c := &Cluster{Nodes: []*Server{newServer(t), newServer(t), newServer(t)}}
	config = append([]string{"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000"}, config...)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, step := range []func(int, *Server) error{
		func(_ int, s *Server) error { return s.start(config) },
		func(i int, s *Server) error { return c.join(ctx, i, s) },
		func(_ int, s *Server) error { return c.serves(ctx, s) },
	} {
		var g errgroup.Group
		for i, s := range c.Nodes {
			g.Go(func() error { return step(i, s) })
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// join gives node i its share of the slots and introduces it to the others. Epochs of their own spare the
// nodes the settlement of equal ones.
func (c *Cluster) join(ctx context.Context, i int, s *Server) error {
	const slots = 16384
	n := len(c.Nodes)
	return s.do(func(rdb *redis.Client) error {
		if err := rdb.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
		if err := rdb.ClusterAddSlotsRange(ctx, slots*i/n, slots*(i+1)/n-1).Err(); err != nil {
			return err
		}
		for _, other := range c.Nodes {
			if other == s {
				continue
			}
			if err := rdb.ClusterMeet(ctx, "127.0.0.1", strconv.Itoa(other.port)).Err(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Cluster) serves(ctx context.Context, s *Server) error {
	known := fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Nodes))
	return s.do(func(rdb *redis.Client) error {
		return await(ctx, func() error {
			info, err := rdb.ClusterInfo(ctx).Result()
			if err == nil && !(strings.Contains(info, "cluster_state:ok\r\n") && strings.Contains(info, known)) {
				err = fmt.Errorf("node %s does not serve:\n%s", s.Addr(), info)
			}
			return err
		})
	})
}

// Addrs gives the addresses of the nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.Nodes))
	for i, s := range c.Nodes {
		addrs[i] = s.Addr()
	}
	return addrs
}

// Client gives a client with go-redis' defaults, closed at the end of the test.
func (c *Cluster) Client(t testing.TB, opts ...func(*redis.ClusterOptions)) *redis.ClusterClient {
	o := &redis.ClusterOptions{Addrs: c.Addrs()}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClusterClient(o)
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}
