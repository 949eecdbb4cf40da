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
