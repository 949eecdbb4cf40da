package redistest

import (
	"context"
	"errors"
	"maps"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// impatient clients find out at once that a server is down or silent.
func impatient(o *redis.Options) {
	o.MaxRetries, o.DialerRetries = -1, 1
	o.DialTimeout, o.ReadTimeout = time.Second, 100*time.Millisecond
}

func TestServer(t *testing.T) {
	a, b := Start(t), Start(t)
	if a.Addr() == b.Addr() || !strings.HasPrefix(a.Addr(), "127.0.0.1:") {
		t.Errorf("addresses %s and %s", a.Addr(), b.Addr())
	}
	ctx, rdb := t.Context(), a.Client(t)
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := b.Client(t).Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("the other server knows the key: %v", err)
	}
	a.Flush()
	a.Flush()
	if n, err := rdb.DBSize(ctx).Result(); n != 0 || err != nil {
		t.Errorf("after Flush: %d keys, %v", n, err)
	}
}

func TestConfig(t *testing.T) {
	rdb := Start(t, "maxmemory 3mb", "maxmemory-policy allkeys-lru").Client(t)
	got, err := rdb.ConfigGet(t.Context(), "maxmemory*").Result()
	if err != nil || got["maxmemory"] != "3145728" || got["maxmemory-policy"] != "allkeys-lru" {
		t.Errorf("%v, %v", got, err)
	}
	bad := newServer(t)
	if err := bad.start([]string{"no-such-directive yes"}); !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "no-such-directive") {
		t.Errorf("bad configuration: %v", err)
	}
}

func TestPortTaken(t *testing.T) {
	first := Start(t)
	second := newServer(t)
	second.port = first.port
	if err := os.WriteFile(second.file("redis.conf"), second.config(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.launch(); !errors.Is(err, errEnded) {
		t.Errorf("a second server on one port: %v", err)
	}
}

func TestCalls(t *testing.T) {
	s := Start(t)
	ctx, rdb := t.Context(), s.Client(t)
	if err := rdb.Ping(ctx).Err(); err != nil { // the handshake of the connection
		t.Fatal(err)
	}
	s.ResetCalls()
	s.ResetCalls()
	for range 3 {
		rdb.Get(ctx, "k")
	}
	rdb.Set(ctx, "k", "v", 0)
	rdb.Eval(ctx, "return redis.call('GET', KEYS[1])", []string{"k"})
	rdb.ConfigGet(ctx, "port")
	want := map[string]int{"get": 4, "set": 1, "eval": 1, "config|get": 1}
	for range 2 {
		if got := s.Calls(); !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestKillAndRestart(t *testing.T) {
	s := Start(t)
	ctx, rdb := t.Context(), s.Client(t, impatient)
	if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.Kill()
		if conn, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("after Kill: %v, %v", conn, err)
		}
	}
	s.Stop() // of no effect on the dead
	s.Cont()
	addr := s.Addr()
	for range 2 {
		s.Restart()
		if s.Addr() != addr {
			t.Errorf("address %s, then %s", addr, s.Addr())
		}
		limit, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := await(limit, func() error { return rdb.Ping(ctx).Err() }) // the pool must notice
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if err := rdb.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("data after Restart: %v", err)
		}
	}
}

func TestRestartKeepsWhatIsPersisted(t *testing.T) {
	s := Start(t, "appendonly yes", "appendfsync always")
	if err := s.Client(t).Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	if v, err := s.Client(t).Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}

func TestStopAndCont(t *testing.T) {
	s := Start(t)
	ctx, rdb := t.Context(), s.Client(t, impatient)
	if err := rdb.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.Stop()
	}
	var timeout net.Error
	if err := rdb.Ping(ctx).Err(); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("stopped: %v", err)
	}
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatalf("a stopped server's port: %v", err)
	}
	_ = conn.Close()
	for range 2 {
		s.Cont()
	}
	patient := s.Client(t)
	if err := patient.Ping(ctx).Err(); err != nil {
		t.Errorf("after Cont: %v", err)
	}
	s.Stop()
	s.Restart() // of a stopped one
	if err := patient.Ping(ctx).Err(); err != nil {
		t.Errorf("after Restart: %v", err)
	}
}

func TestStoppedServerEndsWithItsTest(t *testing.T) {
	Need(t)
	var s *Server
	t.Run("stop", func(t *testing.T) {
		s = Start(t)
		s.Stop()
	})
	if s.proc.alive() {
		t.Error("the server outlives its test")
	}
	s.Kill()
}

func TestConcurrentUse(t *testing.T) {
	s := Start(t)
	var calls sync.WaitGroup
	for range 3 {
		for _, f := range []func(){s.Stop, s.Cont, s.Kill, s.Restart} {
			calls.Go(f)
		}
	}
	calls.Wait()
	s.Restart()
	if err := s.Client(t).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}
