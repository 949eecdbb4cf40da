package httpcache

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// What outer middlewares set is every request's own.
func TestOuterHeaders(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.outer = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", r.Header.Get("Id"))
				w.Header().Set("X-Powered-By", "magic")
				w.Header().Add("X-List", "outer "+r.Header.Get("Id"))
				w.Header().Set("X-Replaced", "outer")
				h.ServeHTTP(w, r)
			})
		}
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Del("X-Powered-By")
			w.Header().Add("X-List", "inner 1")
			w.Header().Add("X-List", "inner 2")
			w.Header().Set("X-Replaced", "inner")
			_, _ = io.WriteString(w, "x")
		})
		for i, rep := range []*reply{s.ask("/", "Id: 0").miss(), s.ask("/", "Id: 1").hit(), s.ask("/", "Id: 2").hit()} {
			id := fmt.Sprint(i)
			rep.has("X-Request-Id: "+id, "X-Powered-By", "X-Replaced: inner")
			if list := rep.header.Values("X-List"); !slices.Equal(list, []string{"outer " + id, "inner 1", "inner 2"}) {
				t.Errorf("X-List: %q", list)
			}
		}
	})
}

// Cookies and Cache-Control of outer middlewares count as if they were the handler's.
func TestOuterRestrictions(t *testing.T) {
	for _, header := range []string{"Set-Cookie: a=b", "Cache-Control: no-store", "Vary: *"} {
		s := inMemory(t, &Options{TTL: OneMinute})
		s.outer = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				name, value, _ := cutHeader(header)
				w.Header().Set(name, value)
				h.ServeHTTP(w, r)
			})
		}
		s.ask("/").miss()
		s.ask("/").miss().has(header)
	}
}

func TestRequestsThatPass(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		for _, test := range []struct {
			target  string
			headers []string
			fwd     string
		}{
			{"POST /", nil, "method"}, {"PATCH /", nil, "method"}, {"OPTIONS /", nil, "method"}, {"QUERY /", nil, "method"},
			{"GET /", []string{"X-HTTP-Method-Override: DELETE"}, "bypass"},
			{"GET /", []string{"X-Method-Override: PUT"}, "bypass"},
			{"GET /", []string{`If-Match: "1"`}, "bypass"},
		} {
			for range 2 {
				s.ask(test.target, test.headers...).miss().told("fwd=" + test.fwd)
			}
		}
		for _, length := range []int64{3, -1} {
			for range 2 {
				req, err := http.NewRequest("GET", s.server.URL+"/body", io.NopCloser(strings.NewReader("abc")))
				noError(t, err)
				req.ContentLength = length
				res, err := s.server.Client().Do(req)
				noError(t, err)
				res.Body.Close()
				if res.Header.Get("X-Cache") != "Miss" {
					t.Errorf("a GET with a body: %v", res.Header)
				}
			}
		}
	})
}

func TestWith(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute, Header: "X-MyAPI-Cache", ClientTTL: OneMinute})
	long := s.cache.With(&Options{TTL: OneHour, ClientTTL: 20 * OneMinute})
	never := s.cache.With(&Options{TTL: Explicit, Name: "never"})
	tenant := s.cache.With(&Options{KeyHeaders: []string{"Tenant"}})
	noError(t, long.Err())
	inner := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "x") })
	mux := http.NewServeMux()
	mux.Handle("/long", long.Handler(inner))
	mux.Handle("/never", never.Handler(inner))
	mux.Handle("/tenant", tenant.Handler(inner))
	mux.Handle("/plain", inner)

	for _, outermost := range []http.Handler{mux, s.cache.Handler(mux)} { // alone, and within another
		noError(t, s.cache.PurgeAll(t.Context()))
		s.once.Do(func() {})
		s.cached = outermost
		first := s.ask("/long").header.Get("Cache-Status")
		if !strings.Contains(first, "ttl=3600") && !strings.Contains(first, "ttl=3599") || strings.Count(first, "fwd") != 1 {
			t.Errorf("/long: %s", first)
		}
		hit := s.ask("/long").header
		if got := hit.Values("X-MyAPI-Cache"); !slices.Equal(got, []string{"Hit"}) {
			t.Errorf("/long: %q", got)
		}
		if got := hit.Get("Cache-Control"); !strings.HasPrefix(got, "max-age=12") { // 20 minutes, beside an Age
			t.Errorf("/long: Cache-Control %q", got)
		}
		s.ask("/never")
		if got := s.ask("/never").header.Get("X-MyAPI-Cache"); got != "Miss" {
			t.Errorf("/never: %q", got)
		}
	}
	if got := s.ask("/plain").header.Get("X-MyAPI-Cache") + s.ask("/plain").header.Get("X-MyAPI-Cache"); got != "MissHit" {
		t.Errorf("/plain: %q", got)
	}
	// The outer cache's keys do not tell tenants apart.
	s.ask("/tenant")
	if got := s.ask("/tenant").header.Get("X-MyAPI-Cache"); got != "Miss" {
		t.Errorf("/tenant: %q", got)
	}
}

// Frameworks may write the answer after the handler that the cache calls has returned.
func TestAnswersWrittenLater(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.outer = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.ServeHTTP(w, r)
			http.Error(w, "not found", http.StatusNotFound)
		})
	}
	s.handle(func(http.ResponseWriter, *http.Request) {})
	for range 2 {
		s.ask("/").miss().code(404).content("not found\n").told("detail=nothing-written")
		noError(t, s.cache.PurgeAll(t.Context()))
	}
}

// They may also keep the writer that the handler was given, and write an error to it when the handler has returned or panicked.
func TestAnswersWrittenLaterToTheHandlersWriter(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	var kept http.ResponseWriter
	s.outer = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				_ = recover()
				if kept != nil {
					kept.Header().Set("Cache-Control", "max-age=60")
					kept.WriteHeader(http.StatusNotFound)
					_, _ = io.WriteString(kept, strings.Repeat("not found ", 1000))
				}
			}()
			h.ServeHTTP(w, r)
		})
	}
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		kept = w
		switch r.URL.Path {
		case "/panic":
			panic("bug")
		case "/held":
			w.Header().Set("Cache-Control", "max-age=60")
			_, _ = io.WriteString(w, "half")
			panic("bug")
		}
	})
	for _, target := range []string{"/", "/panic", "/held", "POST /", "POST /panic"} {
		for range 2 {
			rep := s.ask(target).code(404).content(strings.Repeat("not found ", 1000))
			if n := len(rep.header["Cache-Status"]); n > 1 || !rep.ran {
				t.Errorf("%s: %v", target, rep.header)
			}
			noError(t, s.cache.PurgeAll(t.Context()))
		}
	}
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		kept = nil
		_, _ = io.WriteString(w, "whole")
	})
	s.ask("/").miss().content("whole")
	s.ask("/").hit().content("whole")
}

// A handler that calls another one makes a request of its own.
func TestRequestsWithinRequests(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/part" {
			NoStore(r)
			_, _ = io.WriteString(w, "part")
			return
		}
		part := httptest.NewRequest("GET", "/part", nil).WithContext(r.Context())
		rec := httptest.NewRecorder()
		s.cached.ServeHTTP(rec, part)
		_, _ = io.WriteString(w, "whole of "+rec.Body.String())
	})
	s.ask("/").miss().content("whole of part")
	s.ask("/").hit().content("whole of part")
	s.ask("/part").miss()
}

func TestOptionsThatCannotBeRight(t *testing.T) {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	for want, opts := range map[string]*Options{
		"TTL": {TTL: -2}, "ClientTTL": {ClientTTL: -1}, "StaleIfError": {StaleIfError: -1}, "StaleWhileRevalidate": {StaleWhileRevalidate: -1},
		"Keep": {Keep: -1}, "Wait": {Wait: -1}, "MaxBody": {MaxBody: -1}, "MaxVariants": {MaxVariants: -1}, "Header": {Header: "X Cache"},
		"means something else": {Header: "cache-status"}, "Name": {Name: "a\nb"}, "letter": {Name: "1a"}, "KeyHeaders": {KeyHeaders: []string{"a:b"}}, "IgnoreParams": {IgnoreParams: []string{""}},
	} {
		var logged bytes.Buffer
		opts.Logger = slog.New(slog.NewTextHandler(&logged, nil))
		c := New(client, opts)
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(logged.String(), want) {
			t.Errorf("%s: %v, logged %q", want, err, logged.String())
		}
		if c.Purge(t.Context(), "/") == nil || c.PurgeTags(t.Context(), "a") == nil || c.PurgeAll(t.Context()) == nil {
			t.Errorf("%s: purged", want)
		}
		h := http.NotFoundHandler()
		if fmt.Sprintf("%p", c.Handler(h)) != fmt.Sprintf("%p", h) || c.With(nil).Err() == nil {
			t.Errorf("%s: the handler does not pass", want)
		}
	}
	if New(nil, &Options{Logger: discard}).Err() == nil {
		t.Error("a cache without a client")
	}
}

func TestLogged(t *testing.T) {
	var logged bytes.Buffer
	s := inMemory(t, &Options{TTL: OneMinute})
	s.cache.opts.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.ask("/a")
	s.ask("/a")
	noError(t, s.cache.Purge(t.Context(), "/a"))
	for _, want := range []string{"http answer stored", "http hit", "http answers purged", "url=/a", "status=200"} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("%q is not logged: %s", want, logged.String())
		}
	}
}

func TestStatusOfUpstreamCaches(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "", "Cache-Control: max-age=60", "Cache-Status: upstream; hit")
	for _, rep := range []*reply{s.ask("/").miss(), s.ask("/").hit()} {
		lines := rep.header.Values("Cache-Status")
		if len(lines) != 2 || lines[0] != "upstream; hit" || !strings.HasPrefix(lines[1], "cachify; ") {
			t.Errorf("%q", lines)
		}
	}
}

// Redis is down: handlers answer, and only Cache-Status tells.
func TestOutage(t *testing.T) {
	server := redistest.Start(t)
	s := newSite(t, cachify.Redis(server.Client(t)), false, &Options{TTL: OneMinute})
	s.says(200, "", "X-A: 1")
	s.ask("/").miss()
	s.ask("/").hit()
	server.Kill()
	for i := range 5 {
		rep := s.ask("/").miss().code(200).content(fmt.Sprintf("run %d", i+2)).told("fwd=bypass", "detail=store").has("X-A: 1", "Age", "Etag", "Warning")
		if n := len(rep.header); n > 6 { // Cache-Status, Content-Length, Content-Type, Date, X-A, X-Cache
			t.Errorf("%v", rep.header)
		}
	}
	s.ask("POST /").code(200)
	if err := s.cache.Purge(t.Context(), "/"); err == nil {
		t.Error("purged without a store")
	}
}

// What lies at the key and is none of ours is a miss.
func TestRubbishInTheStore(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := newSite(t, cachify.Redis(rdb), false, &Options{TTL: OneMinute})
	s.ask("/").miss()
	keys, err := rdb.Keys(t.Context(), "*http:get:/#*").Result()
	noError(t, err)
	if len(keys) != 1 {
		t.Fatal(keys)
	}
	stored, err := rdb.Get(t.Context(), keys[0]).Result()
	noError(t, err)
	for _, rubbish := range []string{"", "x", stored[:len(stored)/2], stored + "x", strings.Replace(stored, "run", "ruN", 1)} {
		noError(t, rdb.Set(t.Context(), keys[0], rubbish, 0).Err())
		s.ask("/").miss()
		s.ask("/").hit()
	}
}
