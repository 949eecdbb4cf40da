package httpcache

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A clock test runs in a bubble, where time passes by itself, without a network.
type bubble struct {
	t      *testing.T
	client *cachify.Client
	cache  *Cache

	mu      sync.Mutex
	handler http.HandlerFunc
	runs    int
	seen    *http.Request
}

func inBubble(t *testing.T, opts *Options, f func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, client: cachify.New(cachify.Memory(), &cachify.Options{Logger: discard})}
		defer b.client.Close()
		var o Options
		if opts != nil {
			o = *opts
		}
		o.Logger = discard
		b.cache = New(b.client, &o)
		noError(t, b.cache.Err())
		f(b)
	})
}

func (b *bubble) says(status int, body string, headers ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.handler = func(w http.ResponseWriter, r *http.Request) {
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Add(name, value)
		}
		w.WriteHeader(status)
		if status != 304 {
			_, _ = io.WriteString(w, body)
		}
	}
}

func (b *bubble) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	b.runs++
	b.seen = r
	h := b.handler
	b.mu.Unlock()
	h(w, r)
}

func (b *bubble) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs
}

func (b *bubble) ask(target string, headers ...string) *reply {
	b.t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	before := b.count()
	w := httptest.NewRecorder()
	b.cache.Handler(b).ServeHTTP(w, r)
	return &reply{t: b.t, status: w.Code, header: w.Header(), body: w.Body.String(), ran: b.count() > before}
}

func TestTimePasses(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.says(200, "1", "Cache-Control: max-age=60")
		b.ask("/").miss()
		time.Sleep(59 * time.Second)
		b.ask("/").hit().has("Age: 59")
		time.Sleep(time.Second)
		b.says(200, "2", "Cache-Control: max-age=60")
		b.ask("/").miss().content("2")
	})
	inBubble(t, &Options{TTL: OneHour, ClientTTL: OneMinute}, func(b *bubble) {
		b.says(200, "1")
		b.ask("/").miss().has("Cache-Control: max-age=60")
		time.Sleep(30 * time.Minute)
		b.ask("/").hit().has("Age: 1800", "Cache-Control: max-age=1860") // a minute from now
		time.Sleep(30*time.Minute - 10*time.Second)
		b.ask("/").hit().has("Age: 3590", "Cache-Control: max-age=3600") // what is left
		time.Sleep(10 * time.Second)
		b.ask("/").miss()
	})
}

func TestStaleWhileRevalidate(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.says(200, "1", "Cache-Control: max-age=60, stale-while-revalidate=30", `ETag: "1"`)
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		b.says(200, "2", "Cache-Control: max-age=60, stale-while-revalidate=30", `ETag: "2"`)
		rep := b.ask("/").content("1").has("Age: 80").told("hit", "ttl=-20")
		if rep.header.Get("X-Cache") != "Hit" {
			t.Errorf("%v", rep.header)
		}
		synctest.Wait()
		b.ask("/").hit().content("2").has("Age: 0")
		if b.seen.Header.Get("If-None-Match") != `"1"` || b.count() != 2 {
			t.Errorf("%d runs, the last with %v", b.count(), b.seen.Header)
		}
		time.Sleep(91 * time.Second)
		b.says(200, "3", "Cache-Control: max-age=60")
		b.ask("/").miss().content("3") // out of the window
	})
}

// The background runs the handler once, however many ask, and a request that has gone does not end it.
func TestOneBackgroundRevalidation(t *testing.T) {
	inBubble(t, &Options{TTL: OneMinute, StaleWhileRevalidate: OneMinute}, func(b *bubble) {
		b.says(200, "1")
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		b.mu.Lock()
		b.handler = func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(5 * time.Second):
				_, _ = io.WriteString(w, "2")
			case <-r.Context().Done():
				t.Error("the background was cancelled")
			}
		}
		b.mu.Unlock()
		for range 10 {
			b.ask("/").content("1")
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		b.ask("/").hit().content("2")
		if b.count() != 2 {
			t.Errorf("%d runs", b.count())
		}
	})
}

func TestBackgroundFailures(t *testing.T) {
	inBubble(t, &Options{TTL: OneMinute, StaleWhileRevalidate: OneHour, StaleIfError: OneHour}, func(b *bubble) {
		b.says(200, "1")
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		for _, fail := range []http.HandlerFunc{
			func(w http.ResponseWriter, r *http.Request) { panic("bug") },
			func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
			func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(503) },
			func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Set-Cookie", "a=b") },
			func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) },
		} {
			b.mu.Lock()
			b.handler = fail
			b.mu.Unlock()
			before := b.count()
			b.ask("/").content("1").has("Set-Cookie")
			synctest.Wait()
			if b.count() != before+1 {
				t.Errorf("%d runs", b.count()-before)
			}
			b.ask("/").content("1").has("Set-Cookie")
			synctest.Wait()
			time.Sleep(passFor + time.Second)
		}
		b.says(200, "2")
		b.ask("/").content("1")
		synctest.Wait()
		b.ask("/").hit().content("2")
	})
}

// Closing the client ends what runs in the background.
func TestCloseEndsTheBackground(t *testing.T) {
	inBubble(t, &Options{TTL: OneMinute, StaleWhileRevalidate: OneHour}, func(b *bubble) {
		b.says(200, "1")
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		ended := false
		b.handler = func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			ended = true
		}
		b.ask("/").content("1")
		synctest.Wait()
		noError(t, b.client.Close())
		if !ended {
			t.Error("the handler runs on")
		}
	})
}

func TestStaleIfError(t *testing.T) {
	inBubble(t, nil, func(b *bubble) {
		b.says(200, "1", "Cache-Control: max-age=60, stale-if-error=600", "X-A: 1")
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		for _, status := range []int{500, 502, 503, 504} {
			b.says(status, "broken", "X-B: 2", "Content-Type: text/x-error")
			b.ask("/").is("Hit", true).code(200).content("1").has("X-A: 1", "X-B", "Content-Type: text/plain; charset=utf-8").told("fwd=stale", fmt.Sprintf("fwd-status=%d", status))
			time.Sleep(failingFor)
		}
		b.says(503, "broken")
		b.ask("/").is("Hit", true)
		b.ask("/").is("Hit", false).content("1") // it has just failed
		time.Sleep(failingFor)
		for _, status := range []int{400, 404, 429, 501, 505} {
			b.says(status, "said")
			b.ask("/").miss().code(status).content("said")
			time.Sleep(failingFor)
		}
		time.Sleep(10 * time.Minute)
		b.says(503, "broken")
		b.ask("/").miss().code(503)
	})
	inBubble(t, nil, func(b *bubble) { // the client may allow it
		b.says(200, "1", "Cache-Control: max-age=60", `ETag: "1"`)
		b.ask("/").miss()
		time.Sleep(80 * time.Second)
		b.says(503, "broken")
		b.ask("/").miss().code(503)
		b.ask("/", "Cache-Control: stale-if-error=10").miss().code(503)
		time.Sleep(failingFor)
		b.ask("/", "Cache-Control: stale-if-error=60").is("Hit", true).content("1")
	})
}

func TestStaleIsForbidden(t *testing.T) {
	for _, directive := range []string{"must-revalidate", "proxy-revalidate", "s-maxage=60", "no-cache"} {
		inBubble(t, &Options{StaleWhileRevalidate: OneHour, StaleIfError: OneHour}, func(b *bubble) {
			b.says(200, "1", "Cache-Control: max-age=60, stale-while-revalidate=600, stale-if-error=600, "+directive, `ETag: "1"`)
			b.ask("/").miss()
			time.Sleep(80 * time.Second)
			b.says(503, "broken")
			if rep := b.ask("/").miss(); rep.status != 503 {
				t.Errorf("%s: %d", directive, rep.status)
			}
		})
	}
}

// What can be revalidated is kept for that, and no longer.
func TestKeep(t *testing.T) {
	inBubble(t, &Options{Keep: 5 * time.Minute}, func(b *bubble) {
		b.says(200, "1", "Cache-Control: max-age=60", `ETag: "1"`)
		b.ask("/").miss()
		time.Sleep(5 * time.Minute)
		b.says(304, "", "Cache-Control: max-age=60")
		b.ask("/").is("Hit", true).content("1")
		time.Sleep(10 * time.Minute)
		b.says(200, "2", "Cache-Control: max-age=60")
		b.ask("/").miss().content("2")
		if b.seen.Header.Get("If-None-Match") != "" {
			t.Error("revalidated what should be gone")
		}
	})
}

// Time that the handler takes does not age what it makes itself.
func TestSlowHandlers(t *testing.T) {
	inBubble(t, &Options{TTL: OneMinute}, func(b *bubble) {
		b.handler = func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(50 * time.Second)
			if r.URL.Path == "/upstream" {
				w.Header().Set("Age", "1") // made elsewhere: the time it took counts (RFC 9111, section 4.2.3)
				w.Header().Set("Cache-Control", "max-age=100")
			}
			_, _ = io.WriteString(w, "1")
		}
		b.ask("/").miss()
		time.Sleep(50 * time.Second)
		b.ask("/").hit().has("Age: 50")
		b.ask("/upstream").miss()
		b.ask("/upstream").hit().has("Age: 51")
	})
}
