package httpcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestEventsAreStreamed(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		release := make(chan struct{})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				w.(http.Flusher).Flush()
				if r.Header.Get("Second") != "" {
					<-r.Context().Done()
					return
				}
				<-release
			}
		})
		res, err := s.server.Client().Get(s.server.URL + "/")
		noError(t, err)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for i := range 3 {
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
				t.Fatalf("event %d: %q %v", i, lines.Text(), lines.Err())
			}
			lines.Scan()
			if i == 0 { // a second client does not wait for the first
				ctx, cancel := context.WithCancel(t.Context())
				req, err := http.NewRequestWithContext(ctx, "GET", s.server.URL+"/", nil)
				noError(t, err)
				req.Header.Set("Second", "1")
				second, err := s.server.Client().Do(req)
				noError(t, err)
				if line, err := bufio.NewReader(second.Body).ReadString('\n'); line != "data: 0\n" {
					t.Fatalf("second client: %q %v", line, err)
				}
				cancel()
				second.Body.Close()
			}
			release <- struct{}{}
		}
	})
}

// A Flush brings what is written to the client, also of an answer that will be stored.
func TestFlushOfStoredAnswers(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		release := make(chan struct{})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "first ")
			noError(t, http.NewResponseController(w).Flush())
			<-release
			_, _ = io.WriteString(w, "second")
		})
		res, err := s.server.Client().Get(s.server.URL + "/")
		noError(t, err)
		defer res.Body.Close()
		buf := make([]byte, 6)
		if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != "first " {
			t.Fatalf("%q %v", buf, err)
		}
		close(release)
		rest, err := io.ReadAll(res.Body)
		if err != nil || string(rest) != "second" {
			t.Fatalf("%q %v", rest, err)
		}
		s.ask("/").hit().content("first second")
	})
}

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

func TestHijack(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("Write: %v", err)
		}
		_, _ = rw.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
		_ = rw.Flush()
	})
	for range 2 {
		if rep := s.ask("/").content("hi"); !rep.ran {
			t.Error("a hijacked answer was stored")
		}
	}
}

// Streams of some frameworks end by http.CloseNotifier, and panic where there is none.
func TestCloseNotify(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		ended := make(chan bool)
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			gone := w.(interface{ CloseNotify() <-chan bool }).CloseNotify()
			_ = http.NewResponseController(w).Flush()
			ended <- <-gone
		})
		for _, method := range []string{"GET", "POST"} { // one may be stored, the other not
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, method, s.server.URL+"/", nil)
			noError(t, err)
			res, err := s.server.Client().Do(req)
			noError(t, err)
			cancel()
			res.Body.Close()
			if !<-ended {
				t.Error("the client has not gone")
			}
		}
	})
}

func TestUpgradesPass(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(*recorder); ok {
			t.Error("the writer of an upgrade is not the server's own")
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = rw.Flush()
		line, _ := rw.ReadString('\n')
		_, _ = conn.Write([]byte(line))
	})
	conn, err := net.Dial("tcp", s.server.Listener.Addr().String())
	noError(t, err)
	defer conn.Close()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
	in := bufio.NewReader(conn)
	res, err := http.ReadResponse(in, nil)
	noError(t, err)
	line, err := in.ReadString('\n')
	if res.StatusCode != 101 || line != "hello\n" {
		t.Errorf("%d %q %v", res.StatusCode, line, err)
	}
}

func TestResponseController(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			ctl := http.NewResponseController(w)
			noError(t, ctl.SetWriteDeadline(time.Now().Add(time.Minute)))
			noError(t, ctl.SetReadDeadline(time.Now().Add(time.Minute)))
			_, _ = io.WriteString(w, "x")
		})
		s.ask("/").miss().content("x")
		s.ask("/").hit()
	})
}

func TestInterimResponses(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a.css>; rel=preload")
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Del("Link")
			w.Header().Set("X-A", "1")
			_, _ = io.WriteString(w, "x")
		})
		for i := range 2 {
			interim := 0
			req, err := http.NewRequest("GET", s.server.URL+"/", nil)
			noError(t, err)
			req = req.WithContext(traceInterim(t.Context(), &interim))
			res, err := s.server.Client().Do(req)
			noError(t, err)
			res.Body.Close()
			if res.StatusCode != 200 || res.Header.Get("Link") != "" || res.Header.Get("X-A") != "1" || interim != 1-i {
				t.Errorf("answer %d: %d %v, %d interim", i, res.StatusCode, res.Header, interim)
			}
		}
	})
}

func TestHeadersAfterTheHeader(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-A", "1")
			w.WriteHeader(200)
			w.Header().Set("X-A", "2")
			w.Header().Set("X-B", "2")
			w.WriteHeader(500)
			_, _ = io.WriteString(w, "x")
		})
		for _, rep := range []*reply{s.ask("/").miss(), s.ask("/").hit()} {
			rep.code(200).has("X-A: 1", "X-B")
		}
	})
}

func TestTrailers(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/declared" {
				w.Header().Set("Trailer", "X-Sum")
			}
			_, _ = io.WriteString(w, "x")
			if r.URL.Path == "/declared" {
				w.Header().Set("X-Sum", "1")
			} else {
				w.Header().Set(http.TrailerPrefix+"X-Sum", "1")
				_ = http.NewResponseController(w).Flush() // undeclared trailers need a chunked body
			}
		})
		for _, path := range []string{"/declared", "/undeclared"} {
			for range 2 {
				res, err := s.server.Client().Get(s.server.URL + path)
				noError(t, err)
				body, _ := io.ReadAll(res.Body)
				res.Body.Close()
				if res.Trailer.Get("X-Sum") != "1" || string(body) != "x" || res.Header.Get("X-Cache") != "Miss" {
					t.Errorf("%s: trailer %v, %v", path, res.Trailer, res.Header)
				}
			}
		}
	})
}

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

// An answer that no client waits for any longer than Options.Wait is a stream, for all that the others know.
func TestSlowAnswersAreStreams(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute, Wait: 20 * time.Millisecond})
	release := make(chan struct{})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first ")
		_ = http.NewResponseController(w).Flush()
		if r.Header.Get("First") != "" {
			<-release
		}
		_, _ = io.WriteString(w, "second")
	})
	done := make(chan *reply)
	go func() { done <- s.try(context.Background(), "/", "First: 1") }()
	for s.count() == 0 {
		runtime.Gosched()
	}
	if rep := s.ask("/"); rep.body != "first second" || !rep.ran {
		t.Errorf("%q, %v", rep.body, rep.header)
	}
	close(release)
	if rep := <-done; rep.err != nil || rep.body != "first second" {
		t.Errorf("%q, %v", rep.body, rep.err)
	}
}

func TestWithoutAServer(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	for _, want := range []string{"Miss", "Hit"} {
		w := httptest.NewRecorder()
		r, err := http.NewRequest("GET", "http://example.com/a?b=1", nil)
		noError(t, err)
		s.serve(w, r)
		if w.Code != 200 || w.Header().Get("X-Cache") != want || w.Body.String() != "run 1" {
			t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
		}
	}
}
