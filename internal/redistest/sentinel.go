package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name under which a [Sentinel] knows its master.
const MasterName = "mymaster"

// A Sentinel is a master and its replica, watched by one Redis Sentinel that may act on its own (quorum 1). It takes a
// master that has not answered for half a second for dead.
type Sentinel struct {
	Nodes  []*Server // the first is the master at the start
	Server *Server   // Redis Sentinel itself; it has no keys to flush
}

// StartSentinel returns when the replica is in step and the sentinel knows of it. It needs [Need].
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	master := Start(t, "repl-diskless-sync-delay 0")
	replica := Start(t, fmt.Sprintf("replicaof 127.0.0.1 %d", master.port), "repl-diskless-sync-delay 0")
	s := &Sentinel{Nodes: []*Server{master, replica}, Server: newServer(t, "--sentinel")}
	// Shorter periods than those of production, so that a failover takes a second or two and not ten.
	err := s.Server.start([]string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", MasterName, master.port),
		"sentinel down-after-milliseconds " + MasterName + " 500",
		"sentinel failover-timeout " + MasterName + " 3000",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.settle(); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Sentinel) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return s.Server.do(func(rdb *redis.Client) error {
		err := rdb.Do(ctx, "SENTINEL", "DEBUG", "INFO-PERIOD", 100, "PING-PERIOD", 100, "PUBLISH-PERIOD", 200).Err()
		if err != nil {
			return err
		}
		return await(ctx, func() error {
			info, err := rdb.Info(ctx, "sentinel").Result()
			if err != nil {
				return err
			}
			if !strings.Contains(info, ",status=ok,") || !strings.Contains(info, ",slaves=1,") {
				return fmt.Errorf("the sentinel has not found the replica:\n%s", info)
			}
			return s.replicates(ctx)
		})
	})
}

// replicates checks that the second node is in step with the first.
func (s *Sentinel) replicates(ctx context.Context) error {
	return s.Nodes[1].do(func(rdb *redis.Client) error {
		info, err := rdb.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "master_link_status:up") {
			err = errors.New("the replica is not in step with its master")
		}
		return err
	})
}

// Client gives a client that asks the sentinel for the master, with go-redis' defaults, closed at the end of the test.
func (s *Sentinel) Client(t testing.TB, opts ...func(*redis.FailoverOptions)) *redis.Client {
	o := &redis.FailoverOptions{MasterName: MasterName, SentinelAddrs: []string{s.Server.Addr()}}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewFailoverClient(o)
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// Master gives the node that the sentinel holds for the master now.
func (s *Sentinel) Master(ctx context.Context) (*Server, error) {
	var node *Server
	err := s.Server.do(func(rdb *redis.Client) error {
		info, err := rdb.Info(ctx, "sentinel").Result()
		if err != nil {
			return err
		}
		for _, n := range s.Nodes {
			if strings.Contains(info, "address="+n.Addr()+",") {
				node = n
				return nil
			}
		}
		return fmt.Errorf("none of our nodes is the master:\n%s", info)
	})
	return node, err
}

// Failover makes the other node the master, whether the present one lives or not, and returns when it
// answers as one. A master that lives goes on taking writes for about a second after that, which are lost when it becomes
// a replica: so does Redis. Failover can be called again; it waits until the other node can take over.
func (s *Sentinel) Failover(ctx context.Context) error {
	old, err := s.Master(ctx)
	if err != nil {
		return err
	}
	if err := await(ctx, func() error { return s.replace(ctx, old) }); err != nil {
		return fmt.Errorf("failover: %w", err)
	}
	return nil
}

// replace asks for a failover until the sentinel names another master and that node agrees.
func (s *Sentinel) replace(ctx context.Context, old *Server) error {
	now, err := s.Master(ctx)
	if err != nil {
		return err
	}
	if now == old {
		return s.Server.do(func(rdb *redis.Client) error {
			if err := rdb.Do(ctx, "SENTINEL", "FAILOVER", MasterName).Err(); err != nil {
				return err // under way already, or there is no replica yet that could take over
			}
			return errors.New("under way")
		})
	}
	return now.do(func(rdb *redis.Client) error {
		role, err := rdb.Do(ctx, "ROLE").Slice()
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("the new master calls itself %v", role[0])
		}
		return err
	})
}
