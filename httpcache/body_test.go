package httpcache

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

func TestBodiesBeyondTheLimit(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute, MaxBody: 10_000}, func(t *testing.T, s *site) {
		for _, size := range []int{1, heldBytes, heldBytes + 1, 9_999, 10_000, 10_001, 100_000} {
			for _, declared := range []bool{false, true} {
				body := strings.Repeat("x", size)
				s.handle(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/plain")
					if declared {
						w.Header().Set("Content-Length", fmt.Sprint(size))
					}
					for rest := body; rest != ""; { // in pieces
						n := min(777, len(rest))
						_, _ = io.WriteString(w, rest[:n])
						rest = rest[n:]
					}
				})
				path := fmt.Sprintf("/%d/%v", size, declared)
				s.ask(path).miss().content(body)
				if rep := s.ask(path).content(body); rep.ran != (size > 10_000) {
					t.Errorf("%s: hit %v", path, !rep.ran)
				}
			}
		}
	})
}

// A download passes through in constant memory, by the server's own means, also when the cache copies its beginning.
func TestLargeDownloads(t *testing.T) {
	const size = 64 << 20
	for _, declared := range []bool{false, true} {
		s := inMemory(t, &Options{TTL: OneMinute})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			if declared {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			}
			_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
		})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		res, err := s.server.Client().Get(s.server.URL + "/")
		noError(t, err)
		n, err := io.Copy(io.Discard, res.Body)
		res.Body.Close()
		runtime.ReadMemStats(&after)
		if err != nil || n != size {
			t.Fatalf("%d bytes, %v", n, err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
			t.Errorf("declared %v: %d MiB allocated", declared, used>>20)
		}
	}
}

// A hit sends the bytes that the store has.
func TestHitsDoNotCopyTheBody(t *testing.T) {
	const size, hits = 1 << 20, 16
	s := inMemory(t, &Options{TTL: OneMinute})
	h := s.cache.Handler(benchHandler(size))
	r := httptest.NewRequest("GET", "/", nil)
	h.ServeHTTP(&sink{header: http.Header{}}, r)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range hits {
		w := &sink{header: http.Header{}}
		if h.ServeHTTP(w, r); w.n != size || w.header.Get("X-Cache") != "Hit" {
			t.Fatal(w.n, w.header)
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > size {
		t.Errorf("%d hits of %d bytes have allocated %d", hits, size, used)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestShortBodies(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
		})
		for range 2 {
			if rep := s.try(t.Context(), "/"); rep.err == nil {
				t.Fatalf("a short body came as a whole: %q", rep.body)
			}
		}
		if s.count() != 2 {
			t.Errorf("%d runs", s.count())
		}
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "2")
			if _, err := io.WriteString(w, "long"); !errors.Is(err, http.ErrContentLength) {
				t.Errorf("writing too much: %v", err)
			}
		})
		_ = s.try(t.Context(), "/long")
		_ = s.try(t.Context(), "/long")
		if s.count() != 4 {
			t.Errorf("%d runs", s.count())
		}
	})
}

// A source that fails is not the end of a body.
func TestFailingSources(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader("half"), failing{}))
	})
	s.ask("/").miss()
	s.ask("/").miss()
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestWriteStringAndEmptyWrites(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(nil)
		_, _ = w.(io.StringWriter).WriteString("a")
		_, _ = w.Write([]byte("b"))
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("c"))
	})
	s.ask("/").miss().content("abc")
	s.ask("/").hit().content("abc")
	s.handle(func(w http.ResponseWriter, r *http.Request) {})
	for range 2 {
		s.ask("/nothing").miss().code(200).content("") // who knows who writes afterwards
	}
	s.handle(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) })
	s.ask("/empty").miss().code(200).content("").has("Content-Length: 0")
	s.ask("/empty").hit().code(200).content("").has("Content-Length: 0")
	s.says(204, "")
	s.ask("/204").miss().code(204)
	s.ask("/204").hit().code(204).has("Content-Length")
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(204)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			t.Errorf("body of a 204: %v", err)
		}
	})
	s.ask("/204body").miss().code(204)
	s.handle(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(1000) })
	if rep := s.try(t.Context(), "/1000"); rep.err == nil {
		t.Errorf("status 1000 came as %d", rep.status)
	}
}
