package httpcache

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// echo answers with what the request has for the headers that it varies by.
func echo(names ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		for _, name := range names {
			w.Header().Add("Vary", name)
		}
		_, _ = fmt.Fprint(w, echoed(r, names))
	}
}

func echoed(r *http.Request, names []string) string {
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "%s=%q ", name, r.Header.Values(name))
	}
	return b.String()
}

func TestVary(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(echo("Foo", "bar"))
		a := s.ask("/", "Foo: 1", "Bar: x").miss().body
		b := s.ask("/", "Foo: 2", "Bar: x").miss().body
		c := s.ask("/", "Foo: 1").miss().body
		d := s.ask("/").miss().body
		for range 2 {
			s.ask("/", "Foo: 1", "Bar: x").hit().content(a)
			s.ask("/", "Foo: 2", "Bar: x").hit().content(b)
			s.ask("/", "Foo: 1").hit().content(c)
			s.ask("/", "Foo: 1", "Other: 1").hit().content(c)
			s.ask("/").hit().content(d)
		}
		s.ask("/", "Foo: 1x").miss().told("fwd=vary-miss")
		s.ask("/", "Foo: ").miss() // there, if empty
		noError(t, s.cache.Purge(t.Context(), "/"))
		s.ask("/", "Foo: 2", "Bar: x").miss()
		s.ask("/").miss()
	})
}

// No value of one header can be taken for one of another, or of two lines.
func TestVaryHasNoSeparators(t *testing.T) {
	s := inMemory(t, nil)
	s.handle(echo("A", "B"))
	for _, headers := range [][]string{
		{"A: 1", "B: 2"}, {"A: 1, B: 2"}, {"A: 1;B=2"}, {"A: 1#B=2"}, {"B: 2", "A: "}, {"B: 2"}, {"A: 1"}, {"A: 1", "A: 2"}, {"A: 1, 2"}, {"A: 1,2"},
		{"A: 1", "B: "}, {"A: \t1\t2"}, {"A: 1\x80"},
	} {
		// The places of variants are a matter of the URL, in which the host is: here each has one.
		headers = append(headers, "Host: vary.test")
		body := s.ask("/", headers...).miss().body
		s.ask("/", headers...).hit().content(body)
	}
}

func TestVaryIgnoresWhiteSpaceOfLists(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "", "Cache-Control: max-age=60", "Vary: Accept-Language, Accept-Encoding")
	s.ask("/", "Accept-Language: en, de;q=0.5", "Accept-Encoding: gzip,br").miss()
	s.ask("/", "Accept-Language: en,de;q=0.5", "Accept-Encoding: gzip, br").hit()
	s.ask("/", "Accept-Language: en ,  de; q=0.5", "Accept-Encoding: gzip, br").hit()
	s.ask("/", "Accept-Language: de;q=0.5, en", "Accept-Encoding: gzip, br").miss() // order may matter
	s.ask("/", "Accept-Language: EN, de;q=0.5", "Accept-Encoding: gzip, br").miss() // and so may case
}

func TestContentEncodingVaries(t *testing.T) {
	s := inMemory(t, nil)
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=60")
		if r.Header.Get("Accept-Encoding") == "gzip" {
			w.Header().Set("Content-Encoding", "gzip") // and says nothing of Vary
		}
		_, _ = fmt.Fprint(w, r.Header.Get("Accept-Encoding"))
	})
	s.ask("/", "Accept-Encoding: gzip").miss()
	s.ask("/", "Accept-Encoding: identity").miss().content("identity").has("Content-Encoding")
	s.ask("/", "Accept-Encoding: gzip").hit().content("gzip").has("Content-Encoding: gzip")
}

// An answer may turn out to depend on more than was known when its place was chosen.
func TestVaryWidens(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			names := []string{"A"}
			if r.Header.Get("A") == "2" {
				names = append(names, "B")
			}
			echo(names...)(w, r)
		})
		s.ask("/", "A: 1", "B: x").miss()
		s.ask("/", "A: 1", "B: y").hit()
		for _, b := range []string{"x", "y", "z"} {
			body := s.ask("/", "A: 2", "B: "+b).miss().body
			s.ask("/", "A: 2", "B: "+b).hit().content(body)
		}
		s.ask("/", "A: 1", "B: z").hit()
	})
}

// An answer without Vary among others is not for everybody.
func TestVaryIsRemembered(t *testing.T) {
	s := inMemory(t, nil)
	s.handle(echo("A"))
	s.ask("/", "A: 1").miss()
	s.says(200, "for 2", "Cache-Control: max-age=60")
	s.ask("/", "A: 2").miss()
	s.ask("/", "A: 2").hit().content("for 2")
	s.ask("/", "A: 3").miss()
}

func TestVariantsAreBounded(t *testing.T) {
	const most, asked = 8, 200
	server := redistest.Start(t)
	rdb := server.Client(t)
	s := newSite(t, cachify.Redis(rdb), false, &Options{MaxVariants: most})
	s.handle(echo("A"))
	hits := 0
	for i := range asked {
		s.ask("/", fmt.Sprintf("A: %d", i), "Host: vary.test").miss().content(echoed(s.request(), []string{"A"}))
	}
	for i := range asked {
		rep := s.ask("/", fmt.Sprintf("A: %d", i), "Host: vary.test")
		if want := fmt.Sprintf("A=[\"%d\"] ", i); rep.body != want {
			t.Fatalf("%q, want %q", rep.body, want)
		}
		if !rep.ran {
			hits++
		}
	}
	keys, err := rdb.Keys(t.Context(), "*http:get:*").Result()
	noError(t, err)
	entries := 0
	for _, k := range keys {
		if !strings.Contains(k, "tag:") {
			entries++
		}
	}
	if entries > most || hits > most || hits < most-2 {
		t.Errorf("%d entries, %d hits of %d requests: want about %d", entries, hits, asked, most)
	}
}

func TestOneVariant(t *testing.T) {
	for _, most := range []int{1, 2} {
		s := inMemory(t, &Options{MaxVariants: most})
		s.handle(echo("A"))
		for i := range 4 {
			header := fmt.Sprintf("A: %d", i)
			body := s.ask("/", header).miss().body
			if rep := s.ask("/", header); rep.ran != (i >= most) || rep.body != body {
				t.Errorf("of %d variants number %d: hit %v, %q", most, i, !rep.ran, rep.body)
			}
		}
	}
}

// Variants that are asked for at once do not get into each other's way.
func TestVariantsAtOnce(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(echo("A"))
		var wg sync.WaitGroup
		for i := range 64 {
			wg.Go(func() {
				a := fmt.Sprint(i % 4)
				rep := s.try(t.Context(), "/", "A: "+a)
				if want := fmt.Sprintf("A=[%q] ", a); rep.err != nil || rep.body != want {
					t.Errorf("%q, want %q: %v", rep.body, want, rep.err)
				}
			})
		}
		wg.Wait()
	})
}
