package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	timeout = 150 * time.Millisecond
	grace   = 50 * time.Millisecond
)

// answersInTime calls all methods, each with a ctx of its own, on a server that does not answer. One that is late gets
// another chance, as the machine may have been busy.
func answersInTime(t *testing.T, s *Store) {
	t.Helper()
	for _, m := range methods {
		var took time.Duration
		for range 3 {
			start := time.Now()
			ctx, cancel := context.WithDeadline(t.Context(), start.Add(timeout))
			err := m.call(ctx, s)
			took = time.Since(start)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "cachify: redis: ") {
				t.Errorf("%s: error %v, want one of ours that wraps %v", m.name, err, context.DeadlineExceeded)
			}
			if took <= timeout+grace {
				break
			}
		}
		if took > timeout+grace {
			t.Errorf("%s took %v with a timeout of %v", m.name, took, timeout)
		}
	}
}

// silent gives the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noError(t, err)
	var mu sync.Mutex
	var conns []net.Conn
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, conn)
			mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

func TestSilentServer(t *testing.T) {
	addr := silent(t)
	for _, test := range []struct {
		name string
		rdb  redis.UniversalClient
	}{
		{"single", redis.NewClient(&redis.Options{Addr: addr})},
		{"single without timeouts", redis.NewClient(&redis.Options{Addr: addr, ReadTimeout: -2, WriteTimeout: -2})},
		{"cluster", redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})},
		{"cluster with ContextTimeoutEnabled", redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			defer test.rdb.Close()
			answersInTime(t, New(test.rdb))
		})
	}
}

func TestStoppedServer(t *testing.T) {
	server := redistest.Start(t)
	s := New(server.Client(t))
	for _, m := range methods {
		noError(t, m.call(within(t, 5*time.Second), s))
	}
	server.Stop()
	answersInTime(t, s)
	server.Cont()
	for _, m := range methods {
		noError(t, m.call(within(t, 5*time.Second), s))
	}
}

func TestStoppedCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, enabled := range []bool{false, true} {
		t.Run(fmt.Sprintf("ContextTimeoutEnabled %t", enabled), func(t *testing.T) {
			s := New(cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = enabled }))
			if guarded := s.guard != nil; guarded == enabled {
				t.Errorf("guarded: %t", guarded)
			}
			for _, m := range methods {
				noError(t, m.call(within(t, 5*time.Second), s))
			}
			for _, node := range cluster.Nodes {
				node.Stop()
			}
			answersInTime(t, s)
			for _, node := range cluster.Nodes {
				node.Cont()
			}
			for _, m := range methods {
				noError(t, m.call(within(t, 5*time.Second), s))
			}
		})
	}
}

// TestSilentClusterBindsFewGoroutines keeps calling a Cluster client whose server never answers.
func TestSilentClusterBindsFewGoroutines(t *testing.T) {
	rdb := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{silent(t)}})
	defer rdb.Close()
	s := New(rdb)
	const callers = 16
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			for range 40 {
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				if _, _, err := s.Get(ctx, []string{"k"}, nil, nil); err == nil {
					t.Error("an answer")
				}
				cancel()
			}
		})
	}
	group.Wait()
	if n := runtime.NumGoroutine(); n > 3*maxAbandoned {
		t.Errorf("%d goroutines", n)
	}
}

func TestGuardBoundsAbandonedCalls(t *testing.T) {
	g := new(guard)
	answer := make(chan struct{})
	stuck := func(context.Context, []redis.Cmder) error {
		<-answer
		return nil
	}
	call := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		return g.run(ctx, nil, stuck)
	}
	for range maxAbandoned {
		if err := call(); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
	if err := call(); err == nil || !strings.Contains(err.Error(), "128 calls are still waiting") {
		t.Errorf("error %v", err)
	}
	close(answer)
	waitFor(t, "the abandoned calls end", func() bool { return g.abandoned.Load() == 0 })
	noError(t, g.run(within(t, time.Second), nil, stuck))
}

// TestGuardReturnsWhatSendReturns lets both ends race for the outcome.
func TestGuardReturnsWhatSendReturns(t *testing.T) {
	g := new(guard)
	boom := errors.New("boom")
	for range 1000 {
		ctx, cancel := context.WithCancel(t.Context())
		err := g.run(ctx, nil, func(context.Context, []redis.Cmder) error {
			cancel()
			return boom
		})
		if !errors.Is(err, boom) && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	waitFor(t, "no call is abandoned", func() bool { return g.abandoned.Load() == 0 })
	if err := g.run(context.Background(), nil, func(context.Context, []redis.Cmder) error { return boom }); !errors.Is(err, boom) {
		t.Error(err)
	}
}

// TestAbandonedCallLeavesTheCallersBytesAlone is for the race detector: the caller may change what it has
// given as soon as the call is over.
func TestAbandonedCallLeavesTheCallersBytesAlone(t *testing.T) {
	g := new(guard)
	value := []byte("before")
	ctx, cancel := context.WithCancel(t.Context())
	over, read := make(chan struct{}), make(chan string)
	err := g.run(ctx, []redis.Cmder{redis.NewStringCmd(ctx, "set", "k", value)}, func(_ context.Context, cmds []redis.Cmder) error {
		cancel()
		<-over
		go func() { read <- string(cmds[0].Args()[2].([]byte)) }()
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	copy(value, "change")
	close(over)
	if got := <-read; got != "before" {
		t.Errorf("the abandoned call sends %q", got)
	}
	waitFor(t, "no call is abandoned", func() bool { return g.abandoned.Load() == 0 })
}

// waitFor asks until it is so.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		runtime.Gosched()
		time.Sleep(time.Millisecond)
	}
}
