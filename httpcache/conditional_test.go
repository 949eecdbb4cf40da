package httpcache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestConditionsOnHits(t *testing.T) {
	modified := ago(time.Hour)
	everywhere(t, nil, func(t *testing.T, s *site) {
		for i, test := range []struct {
			etag    string
			request []string
			status  int
		}{
			{`"abc"`, []string{`If-None-Match: "abc"`}, 304},
			{`"abc"`, []string{`If-None-Match: W/"abc"`}, 304},
			{`W/"abc"`, []string{`If-None-Match: "abc"`}, 304},
			{`W/"abc"`, []string{`If-None-Match: W/"abc"`}, 304},
			{`"abc"`, []string{`If-None-Match: "abd"`}, 200},
			{`"abc"`, []string{`If-None-Match: "x", "abc" , W/"y"`}, 304},
			{`"abc"`, []string{`If-None-Match: "x"`, `If-None-Match: "abc"`}, 304},
			{`"abc"`, []string{`If-None-Match: *`}, 304},
			{`"abc"`, []string{`If-None-Match: abc`}, 200},
			{`"abc"`, []string{`If-None-Match: "x,\"abc\""`}, 200},
			{`"a,b"`, []string{`If-None-Match: "a,b"`}, 304},
			{`"abc"`, []string{`If-None-Match: w/"abc"`}, 200},
			{`abc`, []string{`If-None-Match: abc`}, 200},
			{`"abc"`, []string{`If-None-Match: "x"`, "If-Modified-Since: " + modified}, 200},
			{`"abc"`, []string{`If-None-Match: "abc"`, "If-Modified-Since: " + ago(OneDay)}, 304},
			{`"abc"`, []string{"If-Modified-Since: " + modified}, 304},
			{`"abc"`, []string{"If-Modified-Since: " + ago(0)}, 304},
			{`"abc"`, []string{"If-Modified-Since: " + ago(OneDay)}, 200},
			{`"abc"`, []string{"If-Modified-Since: foo"}, 200},
			{`"abc"`, []string{"If-Modified-Since: " + modified, "If-Modified-Since: " + modified}, 200},
		} {
			path := fmt.Sprintf("/%d", i)
			s.says(200, "content", "Cache-Control: max-age=60", "ETag: "+test.etag, "Last-Modified: "+modified, "Content-Language: en", "Content-Location: /c", "X-A: 1")
			s.ask(path).miss()
			rep := s.ask(path, test.request...).hit()
			if rep.status != test.status {
				t.Errorf("%s, %q: %d, want %d", test.etag, test.request, rep.status, test.status)
			}
			if rep.status == 304 {
				rep.content("").has("Cache-Control: max-age=60", "Etag: "+test.etag, "Content-Location: /c", "Content-Language", "Content-Type", "Last-Modified")
				if rep.header.Get("Date") == "" || rep.header.Get("Expires") == "" || rep.header.Get("Age") == "" {
					t.Errorf("304 with %v", rep.header)
				}
			}
		}
	})
}

func TestConditionsOnlyCountFor200(t *testing.T) {
	s := inMemory(t, nil)
	s.says(404, "", "Cache-Control: max-age=60", `ETag: "abc"`)
	s.ask("/").miss()
	s.ask("/", `If-None-Match: "abc"`).hit().code(404)
	s.ask("/", `If-None-Match: *`).hit().code(404)
}

func TestModifiedSinceWithoutLastModified(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "", "Cache-Control: max-age=60")
	s.ask("/").miss()
	s.ask("/", "If-Modified-Since: "+ago(-time.Minute)).hit().code(304)
	s.ask("/", "If-Modified-Since: "+ago(time.Minute)).hit().code(200)
}

// The handler makes the whole, so that it can be stored; the client still gets what it asked for.
func TestConditionsOnMisses(t *testing.T) {
	long := strings.Repeat("x", 10_000)
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		for i, test := range []struct {
			body, etag, condition string
			status                int
		}{
			{"short", `"abc"`, `If-None-Match: "abc"`, 304},
			{"short", `"abc"`, `If-None-Match: "abd"`, 200},
			{long, `"abc"`, `If-None-Match: "abc"`, 304},
			{long, `"abc"`, `If-None-Match: "abd"`, 200},
		} {
			path := fmt.Sprintf("/%d", i)
			s.says(200, test.body, "ETag: "+test.etag)
			rep := s.ask(path, test.condition).miss().code(test.status)
			if rep.status == 304 {
				rep.content("").has("Etag: " + test.etag)
			}
			if s.request().Header.Get("If-None-Match") != "" {
				t.Error("the handler saw the condition")
			}
			s.ask(path).hit().content(test.body)
		}
		s.says(200, "short")
		etag := s.ask("/made").miss().header.Get("Etag")
		s.ask("/other", "If-None-Match: "+etag).miss().code(304)
		s.ask("/other").hit().content("short")

		// An answer that is not to be stored is not worse off.
		s.says(200, "secret", "Cache-Control: no-store", `ETag: "abc"`)
		s.ask("/secret", `If-None-Match: "abc"`).miss().code(304).content("")
		s.ask("/secret", `If-None-Match: "abd"`).miss().code(200).content("secret")
	})
}

func TestETagIsOfTheContent(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	seen := map[string]string{}
	for _, test := range [][]string{
		{"a", "Content-Type: text/plain"}, {"b", "Content-Type: text/plain"}, {"a", "Content-Type: text/html"},
		{"a", "Content-Type: text/plain", "Content-Language: en"}, {"a", "Content-Type: text/plain", "Content-Encoding: en"},
	} {
		s.says(200, test[0], test[1:]...)
		first := s.ask(fmt.Sprintf("/%d", len(seen))).miss().header.Get("Etag")
		again := s.ask(fmt.Sprintf("/again%d", len(seen))).miss().header.Get("Etag")
		if tag, rest, ok := parseETag(first); first != again || !ok || rest != "" || tag.weak {
			t.Errorf("%q: %s, then %s", test, first, again)
		}
		if seen[first] != "" {
			t.Errorf("%q has the ETag of %s", test, seen[first])
		}
		seen[first] = fmt.Sprint(test)
	}
	s.says(404, "", "Cache-Control: max-age=60")
	s.ask("/missing").miss().has("Etag")
	s.ask("/missing").hit().has("Etag")

	weak := inMemory(t, &Options{TTL: OneMinute, WeakETag: true})
	if tag := weak.ask("/").miss().header.Get("Etag"); !strings.HasPrefix(tag, `W/"`) {
		t.Errorf("ETag %s", tag)
	}
}

// The ETag of a long answer is known only after its header has gone.
func TestETagOfLongAnswers(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.says(200, strings.Repeat("x", 3000))
	s.ask("/").miss().has("Etag")
	tag := s.ask("/").hit().header.Get("Etag")
	s.ask("/", "If-None-Match: "+tag).hit().code(304)
}

func TestRevalidation(t *testing.T) {
	modified := ago(time.Hour)
	everywhere(t, nil, func(t *testing.T, s *site) {
		stale := func(headers ...string) []string {
			return append(headers, "Cache-Control: max-age=60", "Age: 100")
		}
		s.says(200, "content", stale(`ETag: "abc"`, "Last-Modified: "+modified, "X-A: old", "X-B: old", "Content-Encoding: one")...)
		s.ask("/").miss()
		s.says(304, "", "Cache-Control: max-age=600", `ETag: "abc"`, "X-A: new", "X-C: new", "Content-Encoding: two", "Content-Length: 99")
		rep := s.ask("/").is("Hit", true).code(200).content("content").told("fwd=stale", "fwd-status=304")
		want := []string{"X-A: new", "X-B: old", "X-C: new", "Content-Encoding: one", `Etag: "abc"`, "Last-Modified: " + modified, "Cache-Control: max-age=600", "Content-Length: 7"}
		rep.has(want...)
		if r := s.request().Header; r.Get("If-None-Match") != `"abc"` || r.Get("If-Modified-Since") != modified {
			t.Errorf("handler asked with %v", r)
		}
		s.ask("/").hit().content("content").has(want...)
		s.ask("/", `If-None-Match: "abc"`).hit().code(304)

		// A 200 replaces all.
		s.says(200, "old", stale(`ETag: "1"`, "X-A: old")...)
		s.ask("/changed").miss()
		s.says(200, "new", "Cache-Control: max-age=60", `ETag: "2"`)
		s.ask("/changed").miss().content("new").told("fwd=stale", "stored")
		s.ask("/changed").hit().content("new").has("X-A")

		// The client's own condition is evaluated after the handler's word.
		s.says(200, "x", stale(`ETag: "1"`)...)
		s.ask("/both").miss()
		s.says(304, "", "Cache-Control: max-age=60")
		s.ask("/both", `If-None-Match: "1"`).is("Hit", true).code(304)
		if tag := s.request().Header.Get("If-None-Match"); tag != `"1"` {
			t.Errorf("handler asked with %s", tag)
		}

		// A 304 about something else updates nothing, and one that is not to be stored is for its client only.
		s.says(200, "x", stale(`ETag: "1"`, "X-A: old")...)
		s.ask("/other").miss()
		s.says(304, "", "Cache-Control: max-age=600", `ETag: "2"`, "X-A: new")
		s.ask("/other").is("Hit", true).has("X-A: old", `Etag: "1"`)
		s.ask("/other").is("Hit", true)
		s.says(304, "", "Cache-Control: max-age=600", "Set-Cookie: a=b")
		s.ask("/other").is("Hit", true).has("Set-Cookie: a=b")

		// No validator, no condition.
		s.says(200, "x", "Cache-Control: max-age=60, stale-if-error=1000", "Age: 100")
		s.ask("/none").miss()
		s.says(200, "y", "Cache-Control: max-age=60")
		s.ask("/none").miss().content("y")
		if r := s.request().Header; r.Get("If-None-Match") != "" || r.Get("If-Modified-Since") != "" {
			t.Errorf("handler asked with %v", r)
		}
	})
}

func TestNoCacheIsValidatedEachTime(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "no-cache")
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(304)
				return
			}
			_, _ = w.Write([]byte("content"))
		})
		s.ask("/").miss().content("content")
		for range 3 {
			s.ask("/").is("Hit", true).code(200).content("content").told("fwd-status=304")
		}
		s.says(200, "changed", "Cache-Control: no-cache", `ETag: "2"`)
		s.ask("/").miss().content("changed")
	})
}

func TestOriginPreconditionsGoToTheHandler(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.ask("/").miss()
	s.ask("/", `If-Match: "x"`).miss().told("fwd=bypass")
	s.ask("/", "If-Unmodified-Since: "+ago(0)).miss()
	s.ask("/").hit().content("run 1")
}

func TestHead(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.says(200, "content", "X-A: 1")
		s.ask("HEAD /").miss().content("")
		s.ask("/").miss() // a HEAD stores nothing
		s.ask("HEAD /").hit().content("").has("X-A: 1", "Content-Length: 7", "Content-Type: text/plain; charset=utf-8")
		tag := s.ask("/").hit().header.Get("Etag")
		s.ask("HEAD /", "If-None-Match: "+tag).hit().code(304)
		s.ask("HEAD /", "Range: bytes=0-1").hit().code(200).has("Content-Length: 7")
	})
}

// A HEAD that the handler answers shows that what is stored has changed.
func TestHeadInvalidates(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "content", "Cache-Control: max-age=60, stale-if-error=1000", "Age: 100", `ETag: "1"`)
	s.ask("/").miss()
	s.ask("HEAD /").miss()
	s.says(500, "")
	s.ask("/").is("Hit", true).content("content")
	s.says(200, "content", `ETag: "2"`)
	s.ask("HEAD /").miss()
	s.says(500, "")
	s.ask("/").miss().code(500)
}

func TestRanges(t *testing.T) {
	modified := ago(time.Hour)
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.says(200, "0123456789", "Cache-Control: max-age=60", `ETag: "abc"`, "Last-Modified: "+modified, "X-A: 1")
		s.ask("/").miss()
		for _, test := range []struct {
			request []string
			status  int
			body    string
			crange  string
		}{
			{[]string{"Range: bytes=0-1"}, 206, "01", "bytes 0-1/10"},
			{[]string{"Range: bytes=8-"}, 206, "89", "bytes 8-9/10"},
			{[]string{"Range: bytes=-3"}, 206, "789", "bytes 7-9/10"},
			{[]string{"Range: bytes=5-100"}, 206, "56789", "bytes 5-9/10"},
			{[]string{"Range: bytes=-100"}, 206, "0123456789", "bytes 0-9/10"},
			{[]string{"Range: bytes=9-9"}, 206, "9", "bytes 9-9/10"},
			{[]string{"Range: bytes=10-"}, 416, "", "bytes */10"},
			{[]string{"Range: bytes=-0"}, 416, "", "bytes */10"},
			{[]string{"Range: bytes=99999999999999999999-"}, 416, "", "bytes */10"},
			{[]string{"Range: bytes=5-2"}, 200, "0123456789", ""},
			{[]string{"Range: bytes=0-1,3-4"}, 200, "0123456789", ""},
			{[]string{"Range: bytes=a-"}, 200, "0123456789", ""},
			{[]string{"Range: bytes=-"}, 200, "0123456789", ""},
			{[]string{"Range: lines=0-1"}, 200, "0123456789", ""},
			{[]string{"Range: bytes=0-1", `If-Range: "abc"`}, 206, "01", "bytes 0-1/10"},
			{[]string{"Range: bytes=0-1", `If-Range: W/"abc"`}, 200, "0123456789", ""},
			{[]string{"Range: bytes=0-1", `If-Range: "abd"`}, 200, "0123456789", ""},
			{[]string{"Range: bytes=0-1", "If-Range: " + modified}, 206, "01", "bytes 0-1/10"},
			{[]string{"Range: bytes=0-1", "If-Range: " + ago(2*time.Hour)}, 200, "0123456789", ""},
			{[]string{"Range: bytes=0-1", `If-None-Match: "abc"`}, 304, "", ""},
		} {
			rep := s.ask("/", test.request...).hit()
			if rep.status != test.status || rep.body != test.body || rep.header.Get("Content-Range") != test.crange {
				t.Errorf("%q: %d %q %q", test.request, rep.status, rep.body, rep.header.Get("Content-Range"))
			}
			if rep.status == 206 {
				rep.has("X-A: 1", `Etag: "abc"`, fmt.Sprintf("Content-Length: %d", len(test.body)))
			}
		}
	})
}

// A range of what is not stored is the handler's, and is never taken for the whole.
func TestRangesOfMisses(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			http.ServeContent(w, r, "x.txt", time.Now().Add(-time.Hour), strings.NewReader("0123456789"))
		})
		s.ask("/", "Range: bytes=2-3").miss().code(206).content("23")
		s.ask("/", "Range: bytes=2-3").miss().code(206)
		s.ask("/").miss().code(200).content("0123456789")
		s.ask("/", "Range: bytes=2-3").hit().code(206).content("23")
	})
}

// A 304 that the handler has from elsewhere is as old as its Age says.
func TestAgeOf304(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "content", "Cache-Control: max-age=200", "Age: 300", `ETag: "1"`)
	s.ask("/").miss()
	s.says(304, "", "Cache-Control: max-age=200", "Age: 100", `ETag: "1"`)
	for _, ran := range []bool{true, false} {
		rep := s.ask("/").is("Hit", ran).content("content")
		if age, err := strconv.Atoi(rep.header.Get("Age")); err != nil || age < 100 || age >= 200 {
			t.Errorf("ran %v: Age %q", ran, rep.header["Age"])
		}
	}
	s.says(304, "", "Cache-Control: max-age=60", "Age: 100", `ETag: "1"`)
	s.ask("/", "Cache-Control: max-age=0").is("Hit", true)
	s.ask("/").is("Hit", true) // too old already
}
