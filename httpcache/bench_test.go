package httpcache

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// A sink is a client that takes all at once.
type sink struct {
	header http.Header
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(int)             {}
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func benchHandler(size int) http.Handler {
	body := make([]byte, size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", strconv.Itoa(size))
		h.Set("X-A", "1")
		_, _ = w.Write(body)
	})
}

// BenchmarkHit is a hit beside the bare handler, which makes its answer of nothing. The server and the network are left out.
func BenchmarkHit(b *testing.B) {
	stores := map[string]func(b *testing.B) cachify.Store{
		"memory": func(*testing.B) cachify.Store { return cachify.Memory() },
		"redis":  func(b *testing.B) cachify.Store { return cachify.Redis(redistest.Start(b).Client(b)) },
	}
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		name := strconv.Itoa(size>>10) + "KiB"
		b.Run(name+"/bare", func(b *testing.B) { benchServe(b, benchHandler(size), size) })
		for _, store := range []string{"memory", "redis"} {
			b.Run(name+"/"+store, func(b *testing.B) {
				client := cachify.New(stores[store](b), &cachify.Options{Logger: discard})
				defer client.Close()
				cache := New(client, &Options{TTL: OneHour, Logger: discard})
				h := cache.Handler(benchHandler(size))
				benchServe(b, h, size)
			})
		}
	}
}

func benchServe(b *testing.B, h http.Handler, size int) {
	r := httptest.NewRequest("GET", "/api/v1/users?limit=20&skip=0", nil)
	w := &sink{header: http.Header{}}
	h.ServeHTTP(w, r) // fills the cache
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
	}
}

// BenchmarkServer is the same over a server on loopback and its client, many at a time.
func BenchmarkServer(b *testing.B) {
	run := func(b *testing.B, h http.Handler) {
		srv := httptest.NewServer(h)
		defer srv.Close()
		srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 100
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				res, err := srv.Client().Get(srv.URL + "/api/v1/users?limit=20&skip=0")
				if err != nil {
					b.Error(err)
					return
				}
				res.Body.Close()
			}
		})
	}
	b.Run("bare", func(b *testing.B) { run(b, benchHandler(1<<10)) })
	for name, store := range map[string]func(b *testing.B) cachify.Store{
		"memory": func(*testing.B) cachify.Store { return cachify.Memory() },
		"redis":  func(b *testing.B) cachify.Store { return cachify.Redis(redistest.Start(b).Client(b)) },
	} {
		b.Run(name, func(b *testing.B) {
			client := cachify.New(store(b), &cachify.Options{Logger: discard})
			defer client.Close()
			run(b, New(client, &Options{TTL: OneHour, Logger: discard}).Handler(benchHandler(1<<10)))
		})
	}
}
