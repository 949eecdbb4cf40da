package httpcache

import (
	"io"
	"net/http"
	"testing"
)

// What is unsafe removes what is stored of its URL, if it succeeds.
func TestInvalidation(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "M-SEARCH"} {
			for status, drops := range map[int]bool{200: true, 204: true, 303: true, 400: false, 409: false, 500: false} {
				s.says(200, "")
				s.ask("/a?x=1&y=2").miss()
				s.ask("/a").miss()
				s.says(status, "")
				s.ask(method + " /a?y=2&x=1").miss().code(status)
				s.says(200, "")
				if rep := s.ask("/a?x=1&y=2"); rep.ran != drops {
					t.Errorf("%s %d: dropped %v", method, status, rep.ran)
				}
				s.ask("/a").hit()
				noError(t, s.cache.PurgeAll(t.Context()))
			}
		}
		s.says(200, "")
		s.ask("/a").miss()
		s.ask("GET /a", "X-HTTP-Method-Override: DELETE").miss()
		s.ask("/a").miss()
	})
}

func TestLocationsAreInvalidated(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	for _, test := range []struct {
		header, value string
		drops         bool
	}{
		{"Location", "/users/7", true}, {"Location", "7", true}, {"Content-Location", "/users/7", true}, {"Location", s.server.URL + "/users/7", true},
		{"Location", "http://elsewhere.test/users/7", false}, {"Location", "//elsewhere.test/users/7", false}, {"Location", "::", false},
	} {
		s.says(200, "")
		s.ask("/users/7").miss()
		s.says(201, "", test.header+": "+test.value)
		s.ask("POST /users/").miss()
		s.says(200, "")
		if rep := s.ask("/users/7"); rep.ran != test.drops {
			t.Errorf("%s: %s: dropped %v", test.header, test.value, rep.ran)
		}
		noError(t, s.cache.PurgeAll(t.Context()))
	}
}

// A client that sees that its write is done does not get the old answer, also if the handler runs on.
func TestInvalidationComesFirst(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		release := make(chan struct{})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "ok")
			if r.Method == "PUT" {
				_ = http.NewResponseController(w).Flush()
				<-release
			}
		})
		s.ask("/").miss()
		s.ask("/").hit()
		req, err := http.NewRequest("PUT", s.server.URL+"/", nil)
		noError(t, err)
		res, err := s.server.Client().Do(req)
		noError(t, err)
		s.ask("/").miss()
		close(release)
		res.Body.Close()
	})
}

// A load that began before a write does not bring back what was before it.
func TestWritesOvertakeLoads(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		begun, release := make(chan struct{}), make(chan struct{})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Slow") != "" {
				close(begun)
				<-release
				_, _ = io.WriteString(w, "old")
				return
			}
			_, _ = io.WriteString(w, "new")
		})
		slow := make(chan *reply)
		go func() { slow <- s.try(t.Context(), "/", "Slow: 1") }()
		<-begun
		s.ask("PUT /")
		s.ask("/").content("new")
		close(release)
		(<-slow).content("old") // who asked before the write
		s.ask("/").content("new")
	})
}

func TestPurge(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute, IgnoreParams: []string{"utm_*"}, KeyHeaders: []string{"Tenant"}}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Vary", "Accept")
			_, _ = io.WriteString(w, "x")
		})
		all := func(f func(headers ...string)) {
			for _, host := range []string{"a.test", "b.test"} {
				for _, tenant := range []string{"1", "2"} {
					for _, accept := range []string{"x", "y", "z"} {
						f("Host: "+host, "Tenant: "+tenant, "Accept: "+accept)
					}
				}
			}
		}
		for _, url := range []string{"/users/%C3%BC?b=2&a=1", "/users/ü?a=1&b=2&utm_x=1", "http://c.test/users/ü?a=1&b=2", "users/%c3%bc?a=%31&b=2"} {
			all(func(h ...string) { s.ask("/users/%C3%BC?a=1&b=2", h...).miss() })
			all(func(h ...string) { s.ask("/users/%C3%BC?b=2&a=1", h...).hit() })
			s.ask("/users/%C3%BC").is(map[bool]string{true: "Miss", false: "Hit"}[url == "/users/%C3%BC?b=2&a=1"], url == "/users/%C3%BC?b=2&a=1")
			noError(t, s.cache.Purge(t.Context(), url))
			all(func(h ...string) { s.ask("/users/%C3%BC?a=1&b=2", h...).miss() })
			noError(t, s.cache.Purge(t.Context(), url))
			s.ask("/users/%C3%BC").hit()
		}
		if err := s.cache.Purge(t.Context(), "http://[::1"); err == nil {
			t.Error("purged a URL that is none")
		}
		noError(t, s.cache.PurgeAll(t.Context()))
		s.ask("/users/%C3%BC").miss()
	})
}

func TestTags(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			AddTags(r, "all", "", "path"+r.URL.Path)
			w.Header().Add("Surrogate-Key", "k1 k2")
			w.Header().Add("Surrogate-Key", " k3")
			_, _ = io.WriteString(w, "x")
			AddTags(r, "late")
		})
		for _, tag := range []string{"all", "path/a", "k1", "k2", "k3", "late"} {
			s.ask("/a").is("Miss", true)
			s.ask("/a").hit()
			noError(t, s.cache.PurgeTags(t.Context(), tag))
		}
		s.ask("/b")
		noError(t, s.cache.PurgeTags(t.Context(), "path/a", "other"))
		s.ask("/b").hit()
		noError(t, s.client.ResetTags(t.Context(), "k1")) // they are the client's
		s.ask("/b").miss()
		if err := s.cache.PurgeTags(t.Context(), ""); err == nil {
			t.Error("purged an empty tag")
		}
	})
}
