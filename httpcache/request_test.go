package httpcache

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Requests to a URL of which an answer is stored that is 100 seconds old and fresh for 1000.
func TestRequestDirectives(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		for i, test := range []struct {
			request string
			hit     bool
		}{
			{"Cache-Control: foo", true},
			{"Cache-Control: no-cache", false},
			{"Cache-Control: No-Cache", false},
			{`Cache-Control: foo="no-cache"`, true},
			{"Cache-Control: no-store", false},
			{"Cache-Control: max-age=0", false},
			{"Cache-Control: max-age=99", false},
			{"Cache-Control: max-age=500", true},
			{"Cache-Control: max-age=x", true},
			{"Cache-Control: max-age=99, max-stale=1000", false},
			{"Cache-Control: min-fresh=1", true},
			{"Cache-Control: min-fresh=950", false},
			{"Cache-Control: max-stale", true},
			{"Cache-Control: only-if-cached", true},
			{"Pragma: no-cache", false},
			{"Pragma: foo", true},
		} {
			s.says(200, "", "Cache-Control: max-age=1000", "Age: 100")
			path := fmt.Sprintf("/%d", i)
			s.ask(path).miss()
			if rep := s.ask(path, test.request); rep.ran == test.hit || rep.status != 200 {
				t.Errorf("%s: %d, hit %v", test.request, rep.status, !rep.ran)
			}
		}
	})
}

func TestNoCacheReplacesNoStoreChangesNothing(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.says(200, "", "Cache-Control: max-age=1000")
		s.ask("/").miss().content("run 1")
		s.ask("/", "Cache-Control: no-store").miss().content("run 2").told("fwd=request")
		s.ask("/").hit().content("run 1")
		s.ask("/", "Cache-Control: no-cache").miss().content("run 3").told("fwd=request", "stored")
		s.ask("/").hit().content("run 3")
		s.ask("/new", "Cache-Control: no-store").miss().content("run 4")
		s.ask("/new", "Cache-Control: no-cache").miss().content("run 5")
		s.ask("/new").hit().content("run 5")

		s.says(200, "", "Cache-Control: no-store")
		s.ask("/", "Cache-Control: no-cache").miss()
		s.ask("/").hit().content("run 3") // an answer that is not stored replaces nothing
	})
}

func TestOnlyIfCached(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.ask("/", "Cache-Control: only-if-cached").is("Miss", false).code(504)
		s.says(200, "", "Cache-Control: max-age=60", "Age: 100", `ETag: "a"`)
		s.ask("/").miss()
		s.ask("/", "Cache-Control: only-if-cached").is("Miss", false).code(504) // it is stale
		s.ask("/", "Cache-Control: only-if-cached, max-stale=60").hit()
		s.ask("/", "Cache-Control: only-if-cached, no-cache").is("Miss", false).code(504)
	})
}

// An answer 100 seconds old and fresh for 60 is stored.
func TestMaxStale(t *testing.T) {
	for i, test := range []struct {
		response, request string
		hit               bool
	}{
		{"", "", false},
		{"", "max-stale", true},
		{"", "max-stale=100", true},
		{"", "max-stale=10", false},
		{"", "max-stale=x", false},
		{"must-revalidate, ", "max-stale", false},
		{"proxy-revalidate, ", "max-stale", false},
		{"s-maxage=60, ", "max-stale", false},
		{"no-cache, ", "max-stale", false},
	} {
		s := inMemory(t, nil)
		s.says(200, "", "Cache-Control: "+test.response+"max-age=60", "Age: 100", `ETag: "a"`)
		s.ask("/").miss()
		if rep := s.ask("/", "Cache-Control: "+test.request); rep.ran == test.hit {
			t.Errorf("%d: %q with %q: hit %v", i, test.response, test.request, !rep.ran)
		}
	}
}

func TestImmutable(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "", "Cache-Control: max-age=1000, immutable", "Age: 100")
	s.ask("/").miss()
	s.ask("/", "Cache-Control: max-age=0").hit() // a reload, RFC 8246
	s.ask("/", "Cache-Control: no-cache").miss() // one that insists
}

func TestAuthorization(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		for i, test := range []struct {
			cacheControl string
			stored       bool
		}{
			{"max-age=60", false}, {"max-age=60, public", true}, {"s-maxage=60", true}, {"max-age=60, must-revalidate", true},
			{"max-age=60, proxy-revalidate", false}, {"max-age=60, public=1", false}, {"max-age=60, public, private", false},
		} {
			path := fmt.Sprintf("/%d", i)
			s.says(200, "", "Cache-Control: "+test.cacheControl)
			s.ask(path, "Authorization: Bearer a").miss()
			if rep := s.ask(path); rep.ran == test.stored {
				t.Errorf("%s: used without Authorization %v", test.cacheControl, !rep.ran)
			}
			if rep := s.ask(path, "Authorization: Bearer b"); rep.ran == test.stored {
				t.Errorf("%s: used with another Authorization %v", test.cacheControl, !rep.ran)
			}
		}
	})
}

// With a TTL, handlers that say nothing about caching may well look at credentials.
func TestCredentialsWithTTL(t *testing.T) {
	personal := func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "for %s%s", r.Header.Get("Cookie"), r.Header.Get("Authorization"))
	}
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(personal)
		for _, name := range []string{"Cookie", "Authorization"} {
			path := "/" + strings.ToLower(name)
			s.ask(path, name+": u=ann").content("for u=ann")
			s.ask(path, name+": u=bob").content("for u=bob")
			s.ask(path).miss().content("for ")
			s.ask(path).hit().content("for ")
			s.ask(path, name+": u=ann").content("for u=ann")
		}
	})
	t.Run("keyed", func(t *testing.T) {
		s := inMemory(t, &Options{TTL: OneMinute, KeyHeaders: []string{"cookie", "Authorization"}})
		s.handle(personal)
		for _, name := range []string{"Cookie", "Authorization"} {
			for _, user := range []string{"ann", "bob"} {
				s.ask("/", name+": "+user).miss().content("for " + user)
				s.ask("/", name+": "+user).hit().content("for " + user)
			}
		}
	})
	t.Run("shared", func(t *testing.T) {
		s := inMemory(t, &Options{TTL: OneMinute, ShareCookies: true})
		s.ask("/", "Cookie: a=1").miss()
		s.ask("/", "Cookie: a=2").hit()
	})
	t.Run("explicit", func(t *testing.T) {
		s := inMemory(t, &Options{TTL: OneMinute})
		s.says(200, "", "Cache-Control: max-age=60")
		s.ask("/", "Cookie: a=1").miss()
		s.ask("/", "Cookie: a=2").hit()
	})
	t.Run("Vary", func(t *testing.T) {
		s := inMemory(t, &Options{TTL: OneMinute})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Vary", "Cookie")
			personal(w, r)
		})
		for _, user := range []string{"ann", "bob"} {
			s.ask("/", "Cookie: "+user).miss().content("for " + user)
			s.ask("/", "Cookie: "+user).hit().content("for " + user)
		}
	})
}
