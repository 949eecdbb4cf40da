package redisstore

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify/internal/redistest"
)

func receive(t testing.TB, changes <-chan struct{}) {
	t.Helper()
	select {
	case <-changes:
	case <-time.After(10 * time.Second):
		t.Fatal("not told of a change")
	}
}

// watching gives a store that is open, and quick to notice what takes seconds otherwise. It can't be much quicker: go-redis'
// clock for timeouts may be 50 ms late.
func watching(t *testing.T, rdb redis.UniversalClient) *Store {
	s := New(rdb)
	s.watch.ping, s.watch.idle = 60*time.Millisecond, 150*time.Millisecond
	s.Open()
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *Store) isWatching() bool {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	return s.watch.run != nil
}

func set(t *testing.T, s *Store, key string) {
	t.Helper()
	_, _, err := s.Set(within(t, 5*time.Second), nil, []string{key}, [][]byte{[]byte("v")}, []time.Duration{time.Minute}, nil)
	noError(t, err)
}

// TestOneSubscription: all keys share one connection, and are let go of when nobody watches them.
func TestOneSubscription(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	s, writer := watching(t, rdb), New(rdb)
	ctx := within(t, 20*time.Second)
	const keys = 50
	var stops []func()
	for i := range keys {
		key := fmt.Sprint("k", i)
		changes, stop := s.Watch(key)
		stops = append(stops, stop, stop) // more than once
		receive(t, changes)
		set(t, writer, key)
		receive(t, changes)
	}
	if n := len(subscribers(t, rdb)); n != 1 {
		t.Errorf("%d connections for notifications, want 1", n)
	}
	if n := len(rdb.PubSubChannels(ctx, "*").Val()); n != keys {
		t.Errorf("%d channels, want %d", n, keys)
	}
	for _, stop := range stops[2:] {
		stop()
	}
	waitFor(t, "all channels but one are unsubscribed from", func() bool { return len(rdb.PubSubChannels(ctx, "*").Val()) == 1 })
	stops[0]()
	waitFor(t, "the connection is closed", func() bool { return !s.isWatching() && len(subscribers(t, rdb)) == 0 })

	changes, stop := s.Watch("again")
	defer stop()
	receive(t, changes)
	set(t, writer, "again")
	receive(t, changes)
}

func subscribers(t testing.TB, rdb *redis.Client) []string {
	t.Helper()
	list, err := rdb.ClientList(t.Context()).Result()
	noError(t, err)
	var ids []string
	for line := range strings.Lines(list) {
		if !strings.Contains(line, "cmd=subscribe") && !strings.Contains(line, "cmd=unsubscribe") && !strings.Contains(line, "cmd=ping") {
			continue
		}
		for field := range strings.FieldsSeq(line) {
			if id, ok := strings.CutPrefix(field, "id="); ok {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// TestSecondWatcher: a key that is watched already tells a new watcher at once that notifications have begun, and everybody of a change.
func TestSecondWatcher(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	s := watching(t, rdb)
	first, stopFirst := s.Watch("k")
	receive(t, first)
	second, stopSecond := s.Watch("k")
	defer stopSecond()
	select {
	case <-second:
	default:
		t.Error("the second one was not told that notifications have begun")
	}
	set(t, s, "k")
	receive(t, first)
	receive(t, second)
	stopFirst()
	set(t, s, "k")
	receive(t, second)
	if len(first) != 0 {
		t.Error("told after stop")
	}
}

// TestWatchAfterStop: a key that is let go of and watched again at the same time is subscribed to in the end.
func TestWatchAfterStop(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	s, writer := watching(t, rdb), New(rdb)
	other, stop := s.Watch("other") // keeps the connection
	defer stop()
	receive(t, other)
	for start := time.Now(); time.Since(start) < 8*s.watch.ping; {
		changes, stop := s.Watch("k")
		receive(t, changes)
		set(t, writer, "k")
		receive(t, changes)
		stop()
	}
}

func TestWatchSurvives(t *testing.T) {
	for _, test := range []struct {
		name string
		fail func(t *testing.T, server *redistest.Server, proxy *redistest.Proxy, rdb *redis.Client)
	}{
		{"CLIENT KILL", func(t *testing.T, _ *redistest.Server, _ *redistest.Proxy, rdb *redis.Client) {
			for _, id := range subscribers(t, rdb) {
				noError(t, rdb.ClientKillByFilter(t.Context(), "ID", id).Err())
			}
		}},
		{"cut", func(_ *testing.T, _ *redistest.Server, proxy *redistest.Proxy, _ *redis.Client) { proxy.Cut() }},
		{"restart", func(_ *testing.T, server *redistest.Server, _ *redistest.Proxy, _ *redis.Client) { server.Restart() }},
		{"outage", func(t *testing.T, server *redistest.Server, proxy *redistest.Proxy, _ *redis.Client) {
			proxy.Refuse(true)
			proxy.Cut()
			time.Sleep(100 * time.Millisecond) // a few attempts to connect fail
			proxy.Refuse(false)
		}},
		{"silence", func(t *testing.T, _ *redistest.Server, proxy *redistest.Proxy, _ *redis.Client) {
			proxy.Stall(true)
			time.Sleep(200 * time.Millisecond) // longer than a server may be silent
			proxy.Cut()
			proxy.Stall(false)
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			direct := server.Client(t)
			s, writer := watching(t, redistest.NewClient(t, proxy.Addr())), New(direct)
			a, stopA := s.Watch("a")
			defer stopA()
			b, stopB := s.Watch("b")
			defer stopB()
			for _, changes := range []<-chan struct{}{a, b} {
				receive(t, changes)
			}
			test.fail(t, server, proxy, direct)
			for _, changes := range []<-chan struct{}{a, b} {
				receive(t, changes) // notifications begin again
			}
			waitFor(t, "the server is back", func() bool { return direct.Ping(t.Context()).Err() == nil })
			for key, changes := range map[string]<-chan struct{}{"a": a, "b": b} {
				set(t, writer, key)
				receive(t, changes)
			}
			c, stopC := s.Watch("c")
			defer stopC()
			receive(t, c)
		})
	}
}

// TestSilentSubscription: a connection whose other end has fallen silent is replaced.
func TestSilentSubscription(t *testing.T) {
	server := redistest.Start(t)
	s := watching(t, server.Client(t))
	changes, stop := s.Watch("k")
	defer stop()
	receive(t, changes)
	server.Stop()
	waitFor(t, "the connection is given up", func() bool {
		s.watch.mu.Lock()
		defer s.watch.mu.Unlock()
		return !s.watch.keys["k"].active
	})
	server.Cont()
	receive(t, changes)
	set(t, s, "k")
	receive(t, changes)
}

// TestConnectsAreFew: a server that is down is not asked again and again, however many watch.
func TestConnectsAreFew(t *testing.T) {
	var dials atomic.Int64
	rdb := redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, fmt.Errorf("down")
	}})
	defer rdb.Close()
	s := watching(t, rdb)
	for i := range 1000 {
		_, stop := s.Watch(fmt.Sprint("k", i))
		defer stop()
	}
	time.Sleep(300 * time.Millisecond) // the time in which the attempts are counted
	if n := dials.Load(); n == 0 || n > 10 {
		t.Errorf("%d attempts to connect in 300 ms, want a few", n)
	}
}

// TestCloseEndsAll needs no server to be there for it.
func TestCloseEndsAll(t *testing.T) {
	mini, _ := redistest.Mini(t)
	clients := map[string]redis.UniversalClient{
		"miniredis": mini,
		"down":      redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"}),
		"silent":    redis.NewClient(&redis.Options{Addr: silent(t)}),
	}
	before := goleak.IgnoreCurrent()
	for name, rdb := range clients {
		t.Run(name, func(t *testing.T) {
			s := New(rdb)
			s.Open()
			s.Open()
			for range 3 {
				changes, stop := s.Watch("k")
				if name == "miniredis" {
					receive(t, changes)
				}
				_ = s.Close()
				if !s.isWatching() {
					t.Error("the first of two Closes ended the subscription")
				}
				start := time.Now()
				_ = s.Close()
				if took := time.Since(start); took > closeTimeout+time.Second {
					t.Errorf("Close took %v", took)
				}
				if s.isWatching() {
					t.Error("the last Close left the subscription")
				}
				_, stopLater := s.Watch("k") // of a closed store: nothing begins
				if s.isWatching() {
					t.Error("Watch of a closed store began something")
				}
				stopLater()
				stop()
				s.Open()
				s.Open()
			}
			_ = s.Close()
			_ = s.Close()
			_ = s.Close() // once too often
		})
		_ = rdb.Close()
	}
	goleak.VerifyNone(t, before)
}

func TestWatchOnCluster(t *testing.T) {
	rdb := redistest.StartCluster(t).Client(t)
	s, writer := watching(t, rdb), New(rdb)
	ctx := within(t, 20*time.Second)
	for i := range 20 { // over all nodes
		key := fmt.Sprint("k", i)
		changes, stop := s.Watch(key)
		receive(t, changes)
		set(t, writer, key)
		receive(t, changes)
		_, err := writer.Delete(ctx, nil, []string{key})
		noError(t, err)
		receive(t, changes)
		h, c := holder{t, writer}, locks("token", time.Minute, key)
		if !h.lock(c) || !h.unlock(c) {
			t.Errorf("%s is not free", key)
		}
		receive(t, changes)
		stop()
	}
}

// BenchmarkNotification gives the time from a Delete to the news of it, which is a round trip and the way back.
func BenchmarkNotification(b *testing.B) {
	rdb := redistest.Start(b).Client(b)
	s, writer := New(rdb), New(rdb)
	s.Open()
	defer s.Close()
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	changes, stop := s.Watch("k")
	defer stop()
	receive(b, changes)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := writer.Delete(ctx, nil, []string{"k"}); err != nil {
			b.Fatal(err)
		}
		<-changes
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}
