package httpcache

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// soakEnv names the environment variable that says how long each soak runs, such as 30s.
const soakEnv = "CACHIFY_HTTPCACHE_SOAK"

func soakTime(t *testing.T) time.Duration {
	if text := os.Getenv(soakEnv); text != "" {
		d, err := time.ParseDuration(text)
		noError(t, err)
		return d
	}
	return 1500 * time.Millisecond
}

// Random requests to random routes, with clients that leave, handlers that panic, writes and purges. Every answer is
// checked against what its handler would have said.
func TestSoak(t *testing.T) {
	t.Run("memory", func(t *testing.T) { soak(t, cachify.Memory()) })
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		soak(t, cachify.Redis(server.Client(t)), cachify.Redis(server.Client(t)))
	})
}

// A world is what the handlers know: each resource has a version, which writes raise.
type world struct {
	t        *testing.T
	versions []atomic.Int64
	written  []atomic.Int64 // the version that a finished write has made, which later readers must see
	answers  [10]atomic.Int64
	hits     atomic.Int64
	shared   atomic.Int64
	aborted  atomic.Int64
}

var soakRoutes = []string{"ttl", "vary", "private", "user", "etag", "swr", "big", "panic", "slow", "flush"}

const soakResources = 6 // of each route

func soak(t *testing.T, stores ...cachify.Store) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	n := len(soakRoutes) * soakResources
	w := &world{t: t, versions: make([]atomic.Int64, n), written: make([]atomic.Int64, n)}
	var servers []*httptest.Server
	var caches []*Cache
	for i, store := range stores { // each is a process of one service
		client := cachify.New(store, &cachify.Options{Prefix: "soak:", Logger: discard, OpTimeout: patience})
		defer client.Close()
		cache := New(client, &Options{TTL: 2 * time.Second, StaleIfError: 2 * time.Second, MaxBody: 32 << 10, KeyHeaders: []string{"X-User"}, Logger: discard})
		srv := httptest.NewUnstartedServer(cache.Handler(w))
		srv.EnableHTTP2 = i%2 == 1
		if srv.EnableHTTP2 {
			srv.StartTLS()
		} else {
			srv.Start()
		}
		defer srv.Close()
		srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 100
		servers, caches = append(servers, srv), append(caches, cache)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soakTime(t))
	defer cancel()
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			for ctx.Err() == nil && !t.Failed() {
				at := rng.IntN(len(servers))
				w.step(servers[at], caches[at], rng)
			}
		})
	}
	wg.Wait()
	var total int64
	for i := range w.answers {
		total += w.answers[i].Load()
	}
	t.Logf("%d answers (%d hits, %d of them shared runs), %d aborted", total, w.hits.Load(), w.shared.Load(), w.aborted.Load())
	if total == 0 || w.hits.Load() == 0 {
		t.Error("nothing happened")
	}
}

// ServeHTTP is the handler.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	route, res, ok := w.resource(r.URL.Path)
	if !ok {
		http.NotFound(rw, r)
		return
	}
	rng := rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	if r.Method == http.MethodPut {
		v := w.versions[res].Add(1)
		if rng.IntN(20) == 0 {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(rw, v)
		return
	}
	v := w.versions[res].Load()
	h := rw.Header()
	h.Set("X-Version", fmt.Sprint(v))
	AddTags(r, route)
	who := ""
	size := 200
	switch route {
	case "vary":
		h.Set("Vary", "X-Lang, Accept")
		who = r.Header.Get("X-Lang")
	case "private":
		h.Set("Cache-Control", []string{"private", "no-store", "max-age=60, private"}[rng.IntN(3)])
		who = r.Header.Get("Cookie")
	case "user":
		who = r.Header.Get("X-User")
		size = 5000
	case "etag":
		h.Set("Cache-Control", "max-age=0")
		tag := fmt.Sprintf(`"%d-%d"`, res, v)
		h.Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			rw.WriteHeader(http.StatusNotModified)
			return
		}
		size = 3000
	case "swr":
		h.Set("Cache-Control", "max-age=1, stale-while-revalidate=5, stale-if-error=5")
		if rng.IntN(10) == 0 {
			http.Error(rw, "broken", http.StatusServiceUnavailable)
			return
		}
	case "big":
		size = 100_000
	case "slow":
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
	body := content(r.URL.Path, who, v, size)
	for i := 0; len(body) > 0; i++ {
		if route == "panic" && i == 1 && rng.IntN(3) == 0 {
			panic(http.ErrAbortHandler)
		}
		if r.Context().Err() != nil {
			return // as handlers do
		}
		n := min(len(body), 1+rng.IntN(2000))
		if route == "panic" {
			n = min(n, 100)
		}
		if _, err := io.WriteString(rw, body[:n]); err != nil {
			return
		}
		if body = body[n:]; route == "flush" || route == "big" {
			rw.(http.Flusher).Flush()
		}
	}
}

// content says all that an answer depends on, and when it ends.
func content(path, who string, version int64, size int) string {
	text := fmt.Sprintf("%s for %q version %d ", path, who, version)
	text += strings.Repeat("x", max(0, size-len(text)))
	return fmt.Sprintf("%s %08x", text, crc32.ChecksumIEEE([]byte(text)))
}

func (w *world) resource(path string) (route string, index int, ok bool) {
	route, number, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	n, err := strconv.Atoi(number)
	for i, name := range soakRoutes {
		if name == route {
			return route, i*soakResources + n, err == nil
		}
	}
	return route, 0, false
}

// step is one thing that a client does.
func (w *world) step(srv *httptest.Server, cache *Cache, rng *rand.Rand) {
	path := fmt.Sprintf("/%s/%d", soakRoutes[rng.IntN(len(soakRoutes))], rng.IntN(soakResources))
	switch n := rng.IntN(100); {
	case n < 4:
		w.write(srv, path)
	case n == 5:
		if err := cache.Purge(context.Background(), path); err != nil {
			w.t.Errorf("Purge: %v", err)
		}
	case n == 6 && rng.IntN(4) == 0:
		if err := cache.PurgeTags(context.Background(), soakRoutes[rng.IntN(len(soakRoutes))]); err != nil {
			w.t.Errorf("PurgeTags: %v", err)
		}
	default:
		w.read(srv, path, rng)
	}
}

func (w *world) write(srv *httptest.Server, path string) {
	_, res, _ := w.resource(path)
	req, _ := http.NewRequest("PUT", srv.URL+path, nil)
	req.Host = "soak.test"
	answer, err := srv.Client().Do(req)
	if err != nil {
		return // it panicked, and may have written or not
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	v, perr := strconv.ParseInt(string(body), 10, 64)
	if err != nil || perr != nil {
		return
	}
	for old := w.written[res].Load(); old < v && !w.written[res].CompareAndSwap(old, v); old = w.written[res].Load() {
	}
}

func (w *world) read(srv *httptest.Server, path string, rng *rand.Rand) {
	route, res, _ := w.resource(path)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if rng.IntN(20) == 0 {
		time.AfterFunc(time.Duration(rng.IntN(5))*time.Millisecond, cancel)
	}
	req, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+path, nil)
	req.Host = "soak.test"
	who := ""
	switch route {
	case "vary":
		who = fmt.Sprint("lang", rng.IntN(6))
		req.Header.Set("X-Lang", who)
		req.Header.Set("Accept", "x")
	case "private":
		who = fmt.Sprint("cookie", rng.Int())
		req.Header.Set("Cookie", who)
	case "user":
		who = fmt.Sprint("user", rng.IntN(4))
		req.Header.Set("X-User", who)
	}
	if rng.IntN(10) == 0 {
		req.Header.Set("Cache-Control", []string{"no-cache", "no-store", "max-age=0", "min-fresh=1"}[rng.IntN(4)])
	}
	ranged := rng.IntN(20) == 0
	if ranged {
		req.Header.Set("Range", "bytes=0-49")
	}
	atLeast := w.written[res].Load()
	answer, err := srv.Client().Do(req)
	if err != nil {
		w.aborted.Add(1)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		w.aborted.Add(1)
		return
	}
	w.answers[res/soakResources].Add(1)
	if answer.Header.Get("X-Cache") == "Hit" {
		w.hits.Add(1)
	}
	if strings.Contains(answer.Header.Get("Cache-Status"), "collapsed") {
		w.shared.Add(1)
	}
	w.check(path, route, who, answer, string(body), atLeast, w.versions[res].Load(), ranged)
}

func (w *world) check(path, route, who string, answer *http.Response, body string, atLeast, atMost int64, ranged bool) {
	fail := func(why string) {
		w.t.Errorf("%s for %q: %s: %d, version %s of %d to %d, %v, %q", path, who, why, answer.StatusCode, answer.Header.Get("X-Version"), atLeast, atMost, answer.Header["Cache-Status"], cut(body))
	}
	if answer.StatusCode == http.StatusServiceUnavailable && route == "swr" {
		return
	}
	v, err := strconv.ParseInt(answer.Header.Get("X-Version"), 10, 64)
	if err != nil || v < atLeast || v > atMost {
		fail("version")
		return
	}
	size := map[string]int{"user": 5000, "etag": 3000, "big": 100_000}[route]
	want := content(path, who, v, max(size, 200))
	switch {
	case answer.StatusCode == http.StatusPartialContent && ranged:
		want = want[:50]
	case answer.StatusCode != http.StatusOK:
		fail("status")
		return
	}
	if body != want {
		fail("content")
	}
	if answer.Header.Get("X-Cache") == "Hit" && (route == "private" || route == "big") {
		fail("hit")
	}
}
