package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is the name under which a [Sentinel] knows its master.
const MasterName = "mymaster"

// A Sentinel is a master and its replica, watched by one Redis Sentinel that may act on its own (quorum 1). It takes a
// master that has not answered for a second for dead.
type Sentinel struct {
	Nodes  []*Server // the first is the master at the start
	Server *Server   // Redis Sentinel itself; it has no keys to flush
}

// periods are shorter than those of production, so that a failover takes a second or two and not ten. Nor does the sentinel
// sit still for half a minute (TILT) after a busy machine has held it up for two seconds.
var periods = []any{"SENTINEL", "DEBUG", "INFO-PERIOD", 100, "PING-PERIOD", 100, "PUBLISH-PERIOD", 200, "TILT-PERIOD", 100}

// StartSentinel returns when the replica is in step and the sentinel knows of it. It needs [Need].
func StartSentinel(t testing.TB) *Sentinel {
	t.Helper()
	master := Start(t, "repl-diskless-sync-delay 0")
	replica := Start(t, fmt.Sprintf("replicaof 127.0.0.1 %d", master.port), "repl-diskless-sync-delay 0")
	s := &Sentinel{Nodes: []*Server{master, replica}, Server: newServer(t, "--sentinel")}
	err := s.Server.start([]string{
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1", MasterName, master.port),
		"sentinel down-after-milliseconds " + MasterName + " 1000",
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
		if err := rdb.Do(ctx, periods...).Err(); err != nil {
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
			return inStep(ctx, s.Nodes[1], s.Nodes[0])
		})
	})
}

// inStep checks that replica has all that master has.
func inStep(ctx context.Context, replica, master *Server) error {
	return replica.do(func(rdb *redis.Client) error {
		info, err := rdb.Info(ctx, "replication").Result()
		for _, want := range []string{"master_link_status:up", fmt.Sprintf("master_port:%d\r\n", master.port)} {
			if err == nil && !strings.Contains(info, want) {
				err = fmt.Errorf("the replica is not in step: no %q in\n%s", want, info)
			}
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

// Failover makes the other node the master, whether the present one lives or not, and returns when it answers as one.
// While the present one lives it waits until the other is in step, so that it can be called again and again. An old master
// that lives goes on taking writes for a second or so, which are lost when it becomes a replica: so does Redis.
func (s *Sentinel) Failover(ctx context.Context) error {
	old, err := s.Master(ctx)
	if err != nil {
		return err
	}
	err = await(ctx, func() error { return s.replace(ctx, old) })
	if err != nil {
		log, _ := os.ReadFile(s.Server.file("redis.log"))
		return fmt.Errorf("failover: %w; the sentinel's log:\n%s", err, log)
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
		return s.force(ctx, old)
	}
	return now.do(func(rdb *redis.Client) error {
		role, err := rdb.Do(ctx, "ROLE").Slice()
		if err == nil && role[0] != "master" {
			err = fmt.Errorf("the new master calls itself %v", role[0])
		}
		return err
	})
}

func (s *Sentinel) force(ctx context.Context, old *Server) error {
	other := s.Nodes[0]
	if other == old {
		other = s.Nodes[1]
	}
	if old.running() {
		if err := inStep(ctx, other, old); err != nil {
			return err
		}
	}
	return s.Server.do(func(rdb *redis.Client) error {
		if err := rdb.Do(ctx, "SENTINEL", "FAILOVER", MasterName).Err(); err != nil {
			return err // under way already, or the sentinel does not know the replica yet
		}
		return errors.New("under way")
	})
}
