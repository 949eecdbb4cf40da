package redisstore

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

func TestErr(t *testing.T) {
	// A client connects to nothing before its first command.
	addrs := []string{"127.0.0.1:1"}
	single := redis.NewClient(&redis.Options{Addr: addrs[0]})
	pipeliner, err := single.AutoPipeline()
	noError(t, err)
	for _, test := range []struct {
		name string
		rdb  redis.UniversalClient
		want string // in the error
	}{
		{"nil", nil, "is nil"},
		{"nil pointer", (*redis.Client)(nil), "is nil"},
		{"nil Cluster pointer", (*redis.ClusterClient)(nil), "is nil"},
		{"single", single, ""},
		{"universal", redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs}), ""},
		{"sentinel", redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: addrs}), ""},
		{"cluster", redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs}), ""},
		{"ReadOnly", redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, ReadOnly: true}), "replicas"},
		{"RouteByLatency", redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, RouteByLatency: true}), "replicas"},
		{"RouteRandomly", redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs, RouteRandomly: true}), "replicas"},
		{"universal ReadOnly", redis.NewUniversalClient(&redis.UniversalOptions{Addrs: addrs, IsClusterMode: true, ReadOnly: true}), "replicas"},
		{"sentinel RouteRandomly", redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: addrs, RouteRandomly: true}), "replicas"},
		{"sentinel ReplicaOnly", redis.NewFailoverClusterClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: addrs, ReplicaOnly: true}), "replicas"},
		{"ring", redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": addrs[0]}}), "redis.Ring"},
		{"auto pipeline", pipeliner, "the client itself"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := New(test.rdb)
			err := s.Err()
			if test.want == "" {
				noError(t, err)
			} else if err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one that contains %q", err, test.want)
			}
			if err != nil {
				for _, m := range methods {
					if m.call(t.Context(), s) == nil {
						t.Errorf("%s works with a client that is refused", m.name)
					}
				}
				s.Open()
				changes, stop := s.Watch("k")
				stop()
				if len(changes) > 0 {
					t.Error("Watch tells of something")
				}
				noError(t, s.Close())
			}
			if test.rdb != nil && !strings.Contains(test.name, "nil") {
				_ = test.rdb.Close()
			}
		})
	}
}

// TestUsersClientStaysAsItIs uses a client and the store on it at the same time, for the race detector too.
func TestUsersClientStaysAsItIs(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	before := *rdb.Options()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			s := New(rdb)
			for range 20 {
				if _, _, err := s.Lease(within(t, time.Second), []byte("lease"), time.Second, []string{"k"}, []string{"{t}"}, nil); err != nil {
					t.Error(err)
				}
			}
		})
		group.Go(func() {
			for range 20 {
				if err := rdb.Set(t.Context(), "mine", "v", 0).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	after := rdb.Options()
	if after.ContextTimeoutEnabled || after.MaxRetries != before.MaxRetries || after.ReadTimeout != before.ReadTimeout ||
		after.WriteTimeout != before.WriteTimeout || after.MinRetryBackoff != before.MinRetryBackoff || after.MaxRetryBackoff != before.MaxRetryBackoff {
		t.Errorf("options were %+v and are %+v", before, after)
	}
	if stats := rdb.PoolStats(); stats.TotalConns == 0 {
		t.Error("the connections are not shared")
	}
}

func TestOneRoundTrip(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		spy := new(spy)
		rdb.AddHook(spy)
		s := New(rdb)
		for _, m := range methods {
			noError(t, m.call(within(t, 5*time.Second), s)) // scripts are known now
		}
		for _, m := range methods {
			spy.trips.Store(0)
			noError(t, m.call(within(t, 5*time.Second), s))
			if n := spy.trips.Load(); n != 1 {
				t.Errorf("%s took %d round trips", m.name, n)
			}
		}
	})
}

// TestCommands counts what the server does for a hit and for a miss.
func TestCommands(t *testing.T) {
	server := redistest.Start(t)
	s := New(server.Client(t))
	ctx := within(t, 5*time.Second)
	keys, tags := []string{"a", "b"}, []string{"{t}", "{t}a"}
	for _, what := range []string{"miss", "hit"} {
		server.ResetCalls()
		_, _, err := s.Lease(ctx, []byte("lease"), time.Minute, keys, tags, nil)
		noError(t, err)
		calls := server.Calls()
		for name := range calls {
			if name != "set" && name != "mget" && name != "hello" && !strings.HasPrefix(name, "client|") && name != "ping" {
				t.Errorf("%s: command %s", what, name)
			}
		}
		if calls["set"] != 2 || calls["mget"] != 1 {
			t.Errorf("%s: commands %v, want 2 set and 1 mget", what, calls)
		}
	}
}

// TestClientSideCachingIsPassedBy: the client's own cache learns of a Delete too late.
func TestClientSideCachingIsPassedBy(t *testing.T) {
	rdb := redistest.Start(t).Client(t, func(o *redis.Options) {
		o.ClientSideCacheConfig = &redis.ClientSideCacheConfig{}
	})
	s := New(rdb)
	ctx := within(t, 10*time.Second)
	for range 200 {
		_, _, err := s.Set(ctx, nil, []string{"k"}, [][]byte{[]byte("v")}, []time.Duration{time.Minute}, nil)
		noError(t, err)
		for range 2 {
			values, _, err := s.Get(ctx, []string{"k"}, nil, nil)
			noError(t, err)
			if string(values[0]) != "v" {
				t.Fatalf("Get after Set gives %q", values[0])
			}
		}
		_, err = s.Delete(ctx, nil, []string{"k"})
		noError(t, err)
		values, _, err := s.Get(ctx, []string{"k"}, nil, nil)
		noError(t, err)
		if values[0] != nil {
			t.Fatalf("Get after Delete gives %q", values[0])
		}
	}
}

func TestSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	s := New(sentinel.Client(t))
	for _, m := range methods {
		noError(t, m.call(within(t, 5*time.Second), s))
	}
	noError(t, sentinel.Failover(within(t, 20*time.Second)))
	waitFor(t, "the new master takes writes", func() bool {
		_, err := s.Delete(within(t, time.Second), nil, []string{"k"})
		return err == nil
	})
}

func TestMillis(t *testing.T) {
	for _, test := range []struct {
		ttl  time.Duration
		want int64 // 0: an error
	}{
		{NoExpiry, -1},
		{1, 1},
		{time.Millisecond, 1},
		{time.Millisecond + 1, 2},
		{1<<63 - 1, 9223372036855},
		{0, 0},
		{-2, 0},
		{-time.Second, 0},
	} {
		got, err := millis(test.ttl)
		if got != test.want || (err != nil) != (test.want == 0) {
			t.Errorf("millis(%d) = %d, %v, want %d", test.ttl, got, err, test.want)
		}
	}
}

// TestHookThatEndsCommands: a hook that fails commands without setting their errors must not pass for a server that has
// answered "nothing there", which would be a lease.
func TestHookThatEndsCommands(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	rdb.AddHook(closedDoor{})
	s := New(rdb)
	for _, m := range methods {
		if err := m.call(within(t, time.Second), s); err == nil || !strings.Contains(err.Error(), "closed door") {
			t.Errorf("%s: error %v", m.name, err)
		}
	}
}

type closedDoor struct{}

func (closedDoor) DialHook(next redis.DialHook) redis.DialHook { return next }

func (closedDoor) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { return errClosedDoor }
}

func (closedDoor) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { return errClosedDoor }
}

var errClosedDoor = doorError("closed door")

type doorError string

func (e doorError) Error() string { return string(e) }
