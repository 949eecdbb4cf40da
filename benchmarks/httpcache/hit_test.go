package httpcache

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/go-chi/stampede"
	"github.com/redis/go-redis/v9"
	cache "github.com/victorspringer/http-cache"
	"github.com/victorspringer/http-cache/adapter/memory"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/httpcache"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	m.Run()
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// A contender is a cache for handlers with a store of its own. bare is none.
type contender struct {
	name string
	wrap func(tb testing.TB, h http.Handler) http.Handler
}

var contenders = []contender{
	{"bare", func(_ testing.TB, h http.Handler) http.Handler { return h }},
	{"cachify-memory", func(tb testing.TB, h http.Handler) http.Handler { return cachified(tb, cachify.Memory(), h) }},
	{"cachify-redis", func(tb testing.TB, h http.Handler) http.Handler {
		return cachified(tb, cachify.Redis(redistest.Start(tb).Client(tb)), h)
	}},
	{"victorspringer-memory", func(tb testing.TB, h http.Handler) http.Handler {
		adapter, err := memory.NewAdapter(memory.AdapterWithAlgorithm(memory.LRU), memory.AdapterWithCapacity(1000))
		check(tb, err)
		client, err := cache.NewClient(cache.ClientWithAdapter(adapter), cache.ClientWithTTL(time.Hour))
		check(tb, err)
		return client.Middleware(h)
	}},
	{"stampede-memory", func(_ testing.TB, h http.Handler) http.Handler { return stampede.Handler(1000, time.Hour)(h) }},
}

func cachified(tb testing.TB, store cachify.Store, h http.Handler) http.Handler {
	logger := slog.New(slog.DiscardHandler)
	client := cachify.New(store, &cachify.Options{Logger: logger, OpTimeout: 30 * time.Second})
	tb.Cleanup(func() { check(tb, client.Close()) })
	c := httpcache.New(client, &httpcache.Options{TTL: time.Hour, Logger: logger})
	check(tb, c.Err())
	return c.Handler(h)
}

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// handler answers with a body that it has at hand: it costs next to nothing, so what is measured is the cache.
func handler(size int) http.Handler {
	body := make([]byte, size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		w.Header().Set("X-A", "1")
		_, _ = w.Write(body)
	})
}

const target = "/api/v1/users?limit=20&skip=0"

// Each contender answers, and keeps its handler from running a second time.
func TestContenders(t *testing.T) {
	for _, c := range contenders {
		t.Run(c.name, func(t *testing.T) {
			runs := 0
			inner := handler(1 << 10)
			h := c.wrap(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				runs++
				inner.ServeHTTP(w, r)
			}))
			for range 3 {
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, httptest.NewRequest("GET", target, nil))
				if rec.Code != 200 || rec.Body.Len() != 1<<10 || rec.Header().Get("X-A") != "1" {
					t.Errorf("%d, %d bytes, %v", rec.Code, rec.Body.Len(), rec.Header())
				}
			}
			if want := map[bool]int{true: 3, false: 1}[c.name == "bare"]; runs != want {
				t.Errorf("%d runs, want %d", runs, want)
			}
		})
	}
}

// A sink is a client that takes everything at once.
type sink struct{ header http.Header }

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHandler is a hit without server and network: what the cache itself costs.
func BenchmarkHandler(b *testing.B) {
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		for _, c := range contenders {
			b.Run(strconv.Itoa(size>>10)+"KiB/"+c.name, func(b *testing.B) {
				h := c.wrap(b, handler(size))
				r := httptest.NewRequest("GET", target, nil)
				w := &sink{header: http.Header{}}
				h.ServeHTTP(w, r) // fills the cache
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					clear(w.header)
					h.ServeHTTP(w, r)
				}
			})
		}
	}
}

// BenchmarkServer is a hit over a server on loopback, 16 requests at a time for each processor. Allocations are those of both sides.
func BenchmarkServer(b *testing.B) {
	for _, c := range contenders {
		b.Run("1KiB/"+c.name, func(b *testing.B) {
			srv := httptest.NewServer(c.wrap(b, handler(1<<10)))
			defer srv.Close()
			client := srv.Client()
			client.Transport.(*http.Transport).MaxIdleConnsPerHost = 100
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					res, err := client.Get(srv.URL + target)
					if err != nil {
						b.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}
			})
		})
	}
}
