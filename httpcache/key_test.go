package httpcache

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func keyText(t testing.TB, o *Options, target string, headers ...string) string {
	t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	o.canonical()
	k, ok := o.keyOf(r)
	if !ok {
		t.Fatalf("%s has no key", target)
	}
	return "get:" + k.Path + "#" + k.Rest
}

func TestKeys(t *testing.T) {
	o := &Options{}
	for target, want := range map[string]string{
		"/api/v1/users?limit=20&skip=0": "get:/api/v1/users?limit=20&skip=0#http://example.com",
		"/api/v1/users?skip=0&limit=20": "get:/api/v1/users?limit=20&skip=0#http://example.com",
		"/":                             "get:/#http://example.com",
		"/a?":                           "get:/a?#http://example.com",
		"/a?b":                          "get:/a?b#http://example.com",
		"/a?b=":                         "get:/a?b=#http://example.com",
		"/a?b=2&a=1&b=1":                "get:/a?a=1&b=2&b=1#http://example.com",
		"/a?&b&":                        "get:/a?&&b#http://example.com",
		"http://Example.COM:80/a?x=1":   "get:/a?x=1#http://example.com",
		"http://example.com:8080":       "get:/#http://example.com:8080",
		"https://example.com:443/a":     "get:/a#https://example.com",
		"http://[::1]:80/a":             "get:/a#http://[::1]",
		"/a%20b":                        "get:/a%20b#http://example.com",
		"/a%2fb":                        "get:/a/b#http://example.com#@sent=/a%2fb",
		"/%61":                          "get:/a#http://example.com#@sent=/%61",
		"/a?q=a+b":                      "get:/a?q=a+b#http://example.com",
		"/a?q=a%20b":                    "get:/a?q=a+b#http://example.com#@sent=/a?q=a%20b",
		"/a?%62=1&a=2":                  "get:/a?a=2&b=1#http://example.com#@sent=/a?a=2&%62=1",
		"/a?b=1&%62=2&b=3":              "get:/a?b=1&b=2&b=3#http://example.com#@sent=/a?b=1&%62=2&b=3",
		"/a?q=%zz":                      "get:/a?q=%zz#http://example.com",
		"/%C3%BC":                       "get:/%C3%BC#http://example.com",
		"/a/../b":                       "get:/a/../b#http://example.com",
	} {
		if got := keyText(t, o, target); got != want {
			t.Errorf("%s: %s, want %s", target, got, want)
		}
	}
}

func TestKeyOptions(t *testing.T) {
	o := &Options{
		IgnoreParams: []string{"utm_*", "fbclid"}, KeyHeaders: []string{"x-tenant", "X-Tenant", "X-B"},
		Key: func(r *http.Request) string { return r.Header.Get("K") },
	}
	for _, test := range []struct {
		target  string
		headers []string
		want    string
	}{
		{"/a?utm_source=x&b=1&fbclid=2", nil, "get:/a?b=1#http://example.com"},
		{"/a?utm_source=x", nil, "get:/a#http://example.com"},
		{"/a?%75tm_source=x", nil, "get:/a#http://example.com"},
		{"/a?utm=x", nil, "get:/a?utm=x#http://example.com"},
		{"/a", []string{"X-Tenant: t"}, "get:/a#http://example.com#X-Tenant=t"},
		{"/a", []string{"X-Tenant: t", "X-Tenant: u"}, "get:/a#http://example.com#X-Tenant=t#X-Tenant=u"},
		{"/a", []string{"X-Tenant: t#X-B=u"}, "get:/a#http://example.com#X-Tenant=t%23X-B=u"},
		{"/a", []string{"X-Tenant: t", "X-B: u"}, "get:/a#http://example.com#X-Tenant=t#X-B=u"},
		{"/a", []string{"X-Tenant: "}, "get:/a#http://example.com#X-Tenant="},
		{"/a", []string{"K: %#"}, "get:/a#http://example.com#@key=%25%23"},
		{"/a", []string{"X-Forwarded-Host: evil"}, "get:/a#http://example.com#X-Forwarded-Host=evil"},
		{"/a", []string{"X-Forwarded-For: 1.2.3.4"}, "get:/a#http://example.com"},
	} {
		if got := keyText(t, o, test.target, test.headers...); got != test.want {
			t.Errorf("%s %q: %s, want %s", test.target, test.headers, got, test.want)
		}
	}
}

func TestURLsWithoutKey(t *testing.T) {
	for _, target := range []string{"/a#b", "/a?b#c", "/a b", "/a\x00", "/a?\x7f"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = target
		if k, ok := (&Options{}).keyOf(r); ok {
			t.Errorf("%q has the key %v", target, k)
		}
	}
}

func TestKeysOfTLS(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	plain, _ := (&Options{}).keyOf(r)
	r.TLS = &tls.ConnectionState{}
	secure, _ := (&Options{}).keyOf(r)
	if plain == secure {
		t.Error("http and https have one key")
	}
}

// Requests that middlewares have rewritten alike are still different ones.
func TestRewrittenURLs(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path + " " + r.RequestURI)) })
	s.outer = func(h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle("/v1/", http.StripPrefix("/v1", h))
		mux.Handle("/v2/", http.StripPrefix("/v2", h))
		mux.HandleFunc("/by-header", func(w http.ResponseWriter, r *http.Request) {
			r.URL.Path = "/" + r.Header.Get("To")
			h.ServeHTTP(w, r)
		})
		return mux
	}
	for range 2 {
		s.ask("/v1/users").content("/users /v1/users")
		s.ask("/v2/users").content("/users /v2/users")
		s.ask("/by-header", "To: a").content("/a /by-header")
		s.ask("/by-header", "To: b").content("/b /by-header")
	}
	if s.count() != 4 {
		t.Errorf("%d runs", s.count())
	}
	noError(t, s.cache.Purge(t.Context(), "/v1/users"))
	s.ask("/v1/users").miss()
	s.ask("/v2/users").hit()
}

func TestIgnoredParamsAreHidden(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute, IgnoreParams: []string{"utm_*"}})
	s.handle(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.RawQuery)) })
	s.ask("/?a=1&utm_source=evil&b=2").miss().content("a=1&b=2")
	s.ask("/?a=1&b=2").hit().content("a=1&b=2")
	s.ask("/?b=2&utm_x=1&a=1").hit().content("a=1&b=2")
}

// Whatever two requests are, if they have one key then they have one method, host, path and query to a handler.
func TestKeysAreInjective(t *testing.T) {
	piece := rapid.SampledFrom([]string{"a", "b", "/", "%2F", "%2f", "%61", "?", "&", "=", "+", "%20", "%23", "%25", "%", "#", "@sent=", "ü", "%C3%BC", ";", "."})
	text := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 0, 6).Draw(t, "pieces"), "") })
	o := &Options{KeyHeaders: []string{"A", "B"}, Key: func(r *http.Request) string { return r.Header.Get("K") }}
	request := rapid.Custom(func(t *rapid.T) *http.Request {
		r := httptest.NewRequest("GET", "/", nil)
		r.RequestURI = "/" + text.Draw(t, "target")
		if u, err := url.ParseRequestURI(r.RequestURI); err == nil {
			r.URL = u
		}
		r.Host = rapid.SampledFrom([]string{"a", "b", "A", "a:80", "a:81", "a#b", "a%23b"}).Draw(t, "host")
		for _, name := range []string{"A", "B", "K"} {
			for range rapid.IntRange(0, 2).Draw(t, "lines") {
				r.Header.Add(name, text.Draw(t, "value"))
			}
		}
		return r
	})
	type identity struct{ host, path, query, a, b, k string }
	seen := map[key]identity{}
	rapid.Check(t, func(t *rapid.T) {
		r := request.Draw(t, "request")
		k, ok := o.keyOf(r)
		if !ok {
			return
		}
		path, query, _ := strings.Cut(r.RequestURI, "?")
		ordered, _ := o.orderQuery(query)
		host := strings.TrimSuffix(strings.ToLower(r.Host), ":80")
		id := identity{host, path, ordered, strings.Join(r.Header["A"], "\x00"), strings.Join(r.Header["B"], "\x00"), r.Header.Get("K")}
		if len(r.Header["A"]) == 0 {
			id.a = "none"
		}
		if len(r.Header["B"]) == 0 {
			id.b = "none"
		}
		if before, ok := seen[k]; ok && before != id {
			t.Fatalf("%+v and %+v have the key %+v", before, id, k)
		}
		seen[k] = id
	})
}
