package faulttest

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// A nearDuo is two clients, of which the second has a near cache, whose function's source both know.
type nearDuo struct {
	t             testing.TB
	writer, there *cachify.Client
	f, g          *cachify.Cached[int, int64]
	source        atomic.Int64
	load          atomic.Pointer[func(context.Context)] // what a load does once it has read the source
}

func newNearDuo(t testing.TB, writer, there redis.UniversalClient, ttl time.Duration) *nearDuo {
	d := &nearDuo{t: t, writer: newClient(t, writer), there: newClient(t, there)}
	load := func(ctx context.Context, _ int) (int64, error) {
		v := d.source.Load()
		if f := d.load.Load(); f != nil {
			(*f)(ctx)
		}
		return v, nil
	}
	opts := cachify.CachedOptions{TTL: ttl, Tags: []string{"tag-<n>"}}
	d.f = cachify.Must(cachify.NewCached(d.writer, "n-<n>", load, &opts))
	opts.Near = &cachify.NearOptions{TTL: time.Hour}
	d.g = cachify.Must(cachify.NewCached(d.there, "n-<n>", load, &opts))
	return d
}

func (d *nearDuo) get(n int) int64 {
	d.t.Helper()
	v, err := d.g.Get(d.t.Context(), n)
	noError(d.t, err)
	return v
}

// isNear says whether a Get is answered by the near cache.
func (d *nearDuo) isNear(n int) bool {
	d.t.Helper()
	before := d.there.Stats().NearHits
	d.get(n)
	return d.there.Stats().NearHits > before
}

func (d *nearDuo) warm(n int) {
	d.t.Helper()
	eventually(d.t, resumed, "a near hit", func() bool { return d.isNear(n) })
}

// resetWays are all the ways to make an entry an old one.
var resetWays = map[string]func(*nearDuo, int) error{
	"Reset":     func(d *nearDuo, n int) error { return d.f.Reset(d.t.Context(), n) },
	"Put":       func(d *nearDuo, n int) error { return d.f.Put(d.t.Context(), n, d.source.Load()) },
	"ResetTags": func(d *nearDuo, n int) error { return d.writer.ResetTags(d.t.Context(), "tag-1", "tag-2") },
	"ResetAll":  func(d *nearDuo, n int) error { return d.f.ResetAll(d.t.Context()) },
}

// A gate is a dialer that may be shut: connections that stand go on, and no new one is made.
type gate struct{ shut atomic.Bool }

func (g *gate) dialer(o *redis.Options) {
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if g.shut.Load() {
			return nil, errors.New("the gate is shut")
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

// TestNearWhileDeaf cuts the follower's connection alone, so that a near cache misses resets while everything else works. It must
// not be used then, nor keep what was being loaded when the reset came, once it is told of changes again.
func TestNearWhileDeaf(t *testing.T) {
	server := redistest.Start(t)
	for name, reset := range resetWays {
		t.Run(name, func(t *testing.T) {
			server.Flush()
			var g gate
			rdb := server.Client(t, g.dialer, func(o *redis.Options) { o.MinIdleConns = 8 })
			d := newNearDuo(t, server.Client(t), rdb, time.Hour)
			d.warm(1)
			d.warm(3)
			eventually(t, resumed, "connections for later", func() bool { return rdb.PoolStats().IdleConns >= 8 })

			loading, finish := make(chan struct{}), make(chan struct{})
			land := sync.OnceFunc(func() { close(finish) })
			defer land()
			hold := func(context.Context) { close(loading); <-finish }
			d.load.Store(&hold)
			slow := make(chan int64, 1)
			go func() {
				v, _ := d.g.Get(t.Context(), 2)
				slow <- v
			}()
			<-loading
			d.load.Store(nil)

			g.shut.Store(true)
			noError(t, rdb.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
			off := eventually(t, resumed, "no near hits", func() bool { return !d.isNear(3) })
			d.source.Add(1)
			noError(t, reset(d, 1))
			noError(t, reset(d, 2))
			if v := d.get(1); v != 1 {
				t.Errorf("a Get gives %d while nothing is told, want 1", v)
			}

			g.shut.Store(false)
			on := eventually(t, resumed, "near hits", func() bool { return d.isNear(3) })
			land()
			if v := <-slow; v != 0 && v != 1 { // it began before the reset
				t.Errorf("the load gave %d", v)
			}
			for range 20 {
				for n := 1; n <= 2; n++ {
					if v := d.get(n); v != 1 {
						t.Fatalf("Get of %d gives %d after the reconnect, want 1", n, v)
					}
				}
			}
			d.warm(1)
			d.warm(2)
			t.Logf("near hits end %v after the cut and begin %v after the way is free", off, on)
		})
	}
}

// TestNearDelay measures how soon a reset reaches the near cache of another client: from when it has returned until the first read
// that gives the new value began.
func TestNearDelay(t *testing.T) {
	server := redistest.Start(t)
	for name, reset := range resetWays {
		timely(t, func(t *testing.T, w *stopwatch) {
			d := newNearDuo(t, server.Client(t), server.Client(t), time.Hour)
			var delays latencies
			for range 200 {
				d.warm(1)
				want := d.source.Add(1)
				heard := make(chan time.Time, 1)
				go func() {
					for {
						if began := time.Now(); d.get(1) == want {
							heard <- began
							return
						}
					}
				}()
				noError(t, reset(d, 1))
				done := time.Now()
				delays.add(max((<-heard).Sub(done), 0))
			}
			t.Logf("%s: %v", name, &delays)
			w.check(name+": the slowest of 200", delays.max(), nearDelay, time.Duration(w.worst.Load()))
		})
	}
}

const nearDelay = 50 * time.Millisecond

// TestNearDeletedByOthers removes an entry as redis-cli would, and lets one expire. Where the server tells of that, the near entry
// goes too, else with the near cache's TTL.
func TestNearDeletedByOthers(t *testing.T) {
	server := redistest.Start(t, "notify-keyspace-events Kgxe")
	rdb := server.Client(t)
	d := newNearDuo(t, server.Client(t), server.Client(t), time.Hour)
	key, err := d.g.Key(1)
	noError(t, err)
	for name, remove := range map[string]func() error{
		"DEL":     func() error { return rdb.Del(t.Context(), key).Err() },
		"UNLINK":  func() error { return rdb.Unlink(t.Context(), key).Err() },
		"RENAME":  func() error { return rdb.Rename(t.Context(), key, "elsewhere").Err() },
		"PEXPIRE": func() error { return rdb.PExpire(t.Context(), key, time.Millisecond).Err() },
	} {
		d.warm(1)
		want := d.source.Add(1)
		noError(t, remove())
		took := eventually(t, resumed, name, func() bool { return d.get(1) == want })
		t.Logf("%s: %v", name, took)
	}
}

// TestNearDeletedByOthersUntold is the same on a server with its default settings.
func TestNearDeletedByOthersUntold(t *testing.T) {
	const ttl = 300 * time.Millisecond
	server := redistest.Start(t)
	c := newClient(t, server.Client(t))
	var source atomic.Int64
	f := cachify.Must(cachify.NewCached(c, "n-<n>", func(context.Context, int) (int64, error) { return source.Load(), nil },
		&cachify.CachedOptions{Near: &cachify.NearOptions{TTL: ttl}}))
	hits := func() bool {
		before := c.Stats().NearHits
		_, err := f.Get(t.Context(), 1)
		noError(t, err)
		return c.Stats().NearHits > before
	}
	eventually(t, resumed, "a near hit", hits)
	key, err := f.Key(1)
	noError(t, err)
	source.Add(1)
	noError(t, server.Client(t).Del(t.Context(), key).Err())
	began := time.Now()
	eventually(t, resumed, "the new value", func() bool {
		v, err := f.Get(t.Context(), 1)
		return err == nil && v == 1
	})
	if took := time.Since(began); took > ttl+resumed/10 {
		t.Errorf("the old value was there for %v, more than the near cache's TTL of %v", took, ttl)
	}
}

// TestNearUnderSentinel and TestNearOnCluster have each way of resetting reach a near cache that hears of it over all masters.
func TestNearUnderSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	resetsArrive(t, sentinel.Client(t), sentinel.Client(t))
	noError(t, sentinel.Failover(t.Context()))
	resetsArrive(t, sentinel.Client(t), sentinel.Client(t))
}

func TestNearOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	resetsArrive(t, cluster.Client(t), cluster.Client(t))
}

func resetsArrive(t *testing.T, writer, there redis.UniversalClient) {
	t.Helper()
	d := newNearDuo(t, writer, there, time.Hour)
	for name, reset := range resetWays {
		var slowest time.Duration
		for n := 1; n <= 2; n++ { // tags of both are reset
			for range 5 {
				d.warm(n)
				want := d.source.Add(1)
				noError(t, reset(d, n))
				slowest = max(slowest, eventually(t, resumed, name, func() bool { return d.get(n) == want }))
			}
		}
		t.Logf("%s: at most %v", name, slowest)
	}
	for n := range 30 { // keys of all masters
		d.warm(100 + n)
		want := d.source.Add(1)
		noError(t, d.f.Reset(t.Context(), 100+n))
		eventually(t, resumed, "Reset", func() bool { return d.get(100+n) == want })
	}
}

// TestNearConnections has one connection more for a client with near caches, however many there are, and nothing left after Close.
func TestNearConnections(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	subscribers := func() (n int) {
		clients, err := admin.Do(t.Context(), "client", "list", "type", "pubsub").Text()
		noError(t, err)
		for _, c := range clients {
			if c == '\n' {
				n++
			}
		}
		return n
	}
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	noError(t, rdb.Ping(t.Context()).Err())
	before := goleak.IgnoreCurrent()
	c := cachify.New(cachify.Redis(rdb), nil)
	for range 20 {
		f := cachify.Must(cachify.NewCached(c, "n-<n>", func(_ context.Context, n int) (int, error) { return n, nil },
			&cachify.CachedOptions{Near: &cachify.NearOptions{}}))
		eventually(t, resumed, "a near hit", func() bool {
			hits := c.Stats().NearHits
			_, err := f.Get(t.Context(), 1)
			return err == nil && c.Stats().NearHits > hits
		})
		if n := subscribers(); n != 1 {
			t.Fatalf("%d connections are subscribed, want 1", n)
		}
	}
	noError(t, c.Close())
	goleak.VerifyNone(t, before)
	eventually(t, resumed, "no subscriber left", func() bool { return subscribers() == 0 })
}

// TestNearOfAUserWhoMayNotSubscribe: the near cache stays unused, which is logged once with Redis' own words, and is used as soon as
// the user may.
func TestNearOfAUserWhoMayNotSubscribe(t *testing.T) {
	server := redistest.Start(t)
	admin := redistest.NewClient(t, server.Addr())
	acl := func(rules ...any) {
		noError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "deaf"}, rules...)...).Err())
	}
	acl("on", ">secret", "~*", "+@all", "resetchannels")
	rdb := redistest.NewClient(t, server.Addr(), func(o *redis.Options) { o.Username, o.Password = "deaf", "secret" })
	var logged logLines
	c := cachify.New(cachify.Redis(rdb), &cachify.Options{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	defer c.Close()
	f := cachify.Must(cachify.NewCached(c, "n-<n>", func(_ context.Context, n int) (int, error) { return n, nil }, &cachify.CachedOptions{Near: &cachify.NearOptions{}}))
	get := func() {
		_, err := f.Get(t.Context(), 1)
		noError(t, err)
	}
	eventually(t, resumed, "a warning", func() bool { get(); return logged.count("level=WARN") == 1 && logged.count("NOPERM") == 1 })
	errors := admin.Info(t.Context(), "errorstats").Val()
	eventually(t, resumed, "another attempt", func() bool { get(); return admin.Info(t.Context(), "errorstats").Val() != errors })
	if c.Stats().NearHits != 0 || logged.count("") != 1 {
		t.Errorf("%d near hits, %d lines in the log", c.Stats().NearHits, logged.count(""))
	}
	acl("allchannels")
	eventually(t, resumed, "a near hit", func() bool { get(); return c.Stats().NearHits > 0 })
	if logged.count("level=INFO") != 1 {
		t.Error("the end of the outage was not logged once")
	}
}

// logLines are the lines that a logger writes.
type logLines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// count gives the number of lines with text in them.
func (l *logLines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestNearOfAPrefixThatIsNotUTF8: a prefix of any bytes reaches the subscriptions as it is.
func TestNearOfAPrefixThatIsNotUTF8(t *testing.T) {
	rdb := redistest.NewClient(t, redistest.Start(t).Addr())
	open := func() *cachify.Client {
		c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "\xff\xc3(*\x00:"})
		t.Cleanup(func() { noError(t, c.Close()) })
		return c
	}
	d := &nearDuo{t: t, writer: open(), there: open()}
	load := func(context.Context, int) (int64, error) { return d.source.Load(), nil }
	opts := cachify.CachedOptions{Tags: []string{"tag-<n>"}}
	d.f = cachify.Must(cachify.NewCached(d.writer, "n-<n>", load, &opts))
	opts.Near = &cachify.NearOptions{TTL: time.Hour}
	d.g = cachify.Must(cachify.NewCached(d.there, "n-<n>", load, &opts))
	for name, change := range resetWays {
		d.warm(1)
		d.source.Add(1)
		noError(t, change(d, 1))
		eventually(t, resumed, name+" reaches the other client", func() bool { return d.get(1) == d.source.Load() })
	}
}
