package httpcache

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	log.SetOutput(io.Discard) // net/http tells of handlers that panic, which they do here
	if mode := os.Getenv(childEnv); mode != "" {
		child(os.Getenv(addrEnv))
		return
	}
	os.Exit(m.Run())
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

var discard = slog.New(slog.DiscardHandler)

// patience is how long a test waits for what is certain to come, on a machine that has much else to do.
const patience = 30 * time.Second

var prefixes atomic.Int64

// everywhere runs a test over HTTP/1.1 and HTTP/2 and on both stores.
func everywhere(t *testing.T, opts *Options, f func(t *testing.T, s *site)) {
	t.Helper()
	t.Run("memory", func(t *testing.T) { onBothProtocols(t, cachify.Memory, opts, f) })
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		onBothProtocols(t, func() cachify.Store { return cachify.Redis(server.Client(t)) }, opts, f)
	})
}

func onBothProtocols(t *testing.T, store func() cachify.Store, opts *Options, f func(t *testing.T, s *site)) {
	t.Run("http1", func(t *testing.T) { f(t, newSite(t, store(), false, opts)) })
	t.Run("http2", func(t *testing.T) { f(t, newSite(t, store(), true, opts)) })
}

// inMemory runs a test on one site only, for what has nothing to do with the store or the protocol.
func inMemory(t *testing.T, opts *Options) *site { return newSite(t, cachify.Memory(), false, opts) }

// A site is a server with a cached handler, and a client. The handler says what the test has told it to, with the number
// of its run as the body if there is none.
type site struct {
	t      *testing.T
	client *cachify.Client
	cache  *Cache
	server *httptest.Server
	outer  func(http.Handler) http.Handler // set before the first request
	once   sync.Once
	cached http.Handler

	mu      sync.Mutex
	handler http.Handler
	runs    int
	seen    *http.Request // by the handler, the last time
}

func newSite(t *testing.T, store cachify.Store, http2 bool, opts *Options) *site {
	client := cachify.New(store, &cachify.Options{Prefix: fmt.Sprintf("t%d:", prefixes.Add(1)), Logger: discard, OpTimeout: patience})
	t.Cleanup(func() { _ = client.Close() })
	s := newSiteOf(t, client, opts)
	s.start(http2)
	return s
}

// siteOf is a site over HTTP/1.1 whose client the test has made, and closes.
func siteOf(t *testing.T, client *cachify.Client, opts *Options) *site {
	s := newSiteOf(t, client, opts)
	s.start(false)
	return s
}

func newSiteOf(t *testing.T, client *cachify.Client, opts *Options) *site {
	s := &site{t: t, client: client}
	var o Options
	if opts != nil {
		o = *opts
	}
	o.Logger = discard
	s.cache = New(s.client, &o)
	if err := s.cache.Err(); err != nil {
		t.Fatal(err)
	}
	s.outer = func(h http.Handler) http.Handler { return h }
	s.says(200, "")
	return s
}

func (s *site) start(http2 bool) {
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.EnableHTTP2 = http2
	if http2 {
		s.server.StartTLS()
	} else {
		s.server.Start()
	}
	s.t.Cleanup(s.server.Close)
	if tr, ok := s.server.Client().Transport.(*http.Transport); ok {
		tr.DisableCompression = true
		tr.MaxIdleConnsPerHost = 100
	}
	s.server.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	s.once.Do(func() { s.cached = s.outer(s.cache.Handler(http.HandlerFunc(s.origin))) })
	s.cached.ServeHTTP(w, r)
}

func (s *site) origin(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	h := s.handler
	s.runs++
	s.seen = r
	s.mu.Unlock()
	h.ServeHTTP(w, r)
}

func (s *site) handle(h http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
}

// says tells the handler what to answer from now on: headers as "Name: value".
func (s *site) says(status int, body string, headers ...string) {
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		if status == http.StatusNoContent || status == http.StatusNotModified {
			return
		}
		content := body
		if content == "" {
			content = fmt.Sprintf("run %d", s.count())
		}
		_, _ = io.WriteString(w, content)
	})
}

func (s *site) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runs
}

func (s *site) request() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// A reply is what the client got.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   string
	ran    bool // the handler ran since the request began; only if requests come one by one
	err    error
}

// ask sends a request: "/path", "POST /path", and headers as "Name: value". "Host: name" sets the host.
func (s *site) ask(target string, headers ...string) *reply {
	s.t.Helper()
	rep := s.try(s.t.Context(), target, headers...)
	if rep.err != nil {
		s.t.Fatalf("%s: %v", target, rep.err)
	}
	return rep
}

func (s *site) try(ctx context.Context, target string, headers ...string) *reply {
	rep := &reply{t: s.t}
	method, path, ok := strings.Cut(target, " ")
	if !ok {
		method, path = "GET", target
	}
	req, err := http.NewRequestWithContext(ctx, method, s.server.URL+path, nil)
	if err != nil {
		rep.err = err
		return rep
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			req.Host = value
		} else {
			req.Header.Add(name, value)
		}
	}
	before := s.count()
	res, err := s.server.Client().Do(req)
	if err != nil {
		rep.err = err
		return rep
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	rep.status, rep.header, rep.body, rep.err = res.StatusCode, res.Header, string(body), err
	rep.ran = s.count() > before
	return rep
}

// hit says that the answer came from the store, miss that the handler made it.
func (rep *reply) hit() *reply {
	rep.t.Helper()
	return rep.is("Hit", false)
}

func (rep *reply) miss() *reply {
	rep.t.Helper()
	return rep.is("Miss", true)
}

func (rep *reply) is(value string, ran bool) *reply {
	rep.t.Helper()
	if got := rep.header.Get("X-Cache"); got != value || rep.ran != ran {
		rep.t.Fatalf("X-Cache %q, handler ran: %v; want %q, %v (%d, %v)", got, rep.ran, value, ran, rep.status, rep.header["Cache-Status"])
	}
	return rep
}

func (rep *reply) code(status int) *reply {
	rep.t.Helper()
	if rep.status != status {
		rep.t.Fatalf("status %d, want %d (%v)", rep.status, status, rep.header)
	}
	return rep
}

func (rep *reply) content(body string) *reply {
	rep.t.Helper()
	if rep.body != body {
		rep.t.Fatalf("body %q, want %q", cut(rep.body), cut(body))
	}
	return rep
}

func cut(s string) string {
	if len(s) > 80 {
		return fmt.Sprintf("%s… (%d bytes)", s[:80], len(s))
	}
	return s
}

// has checks headers: "Name: value" for one line of that value, "Name" for none.
func (rep *reply) has(lines ...string) *reply {
	rep.t.Helper()
	for _, line := range lines {
		name, value, ok := strings.Cut(line, ": ")
		got := rep.header.Values(name)
		if !ok && len(got) > 0 || ok && (len(got) != 1 || got[0] != value) {
			rep.t.Fatalf("%s is %q, want %q", name, got, line)
		}
	}
	return rep
}

// status checks that Cache-Status has all of parts.
func (rep *reply) told(parts ...string) *reply {
	rep.t.Helper()
	status := rep.header.Get("Cache-Status")
	for _, part := range parts {
		if !strings.Contains(status+";", "; "+part+";") {
			rep.t.Fatalf("Cache-Status %q, want %q in it", status, part)
		}
	}
	return rep
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ago(d time.Duration) string { return httpDate(time.Now().Add(-d)) }

// traceInterim counts the interim responses of a request.
func traceInterim(ctx context.Context, n *int) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		*n++
		return nil
	}})
}
