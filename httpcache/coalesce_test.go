package httpcache

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd sends n requests at once and gives their replies, after the handler has run as often as waitFor and release was called.
func (s *site) crowd(n int, target string, headers func(i int) []string) []*reply {
	s.t.Helper()
	replies := make([]*reply, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			var h []string
			if headers != nil {
				h = headers(i)
			}
			replies[i] = s.try(s.t.Context(), target, h...)
		})
	}
	wg.Wait()
	for i, rep := range replies {
		if rep.err != nil {
			s.t.Errorf("request %d: %v", i, rep.err)
		}
	}
	return replies
}

// waiting waits until n requests wait for a load of somebody else.
func (s *site) waiting(n int64) {
	for s.client.Stats().Waits < n {
		runtime.Gosched()
	}
}

func TestCoalescing(t *testing.T) {
	const n = 20
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		var runs atomic.Int64
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			runs.Add(1)
			s.waiting(n - 1)
			w.Header().Set("X-A", "1")
			_, _ = io.WriteString(w, "content")
		})
		misses := 0
		for _, rep := range s.crowd(n, "/", nil) {
			rep.content("content").has("X-A: 1").code(200)
			if rep.header.Get("X-Cache") == "Miss" {
				misses++
			} else {
				rep.told("collapsed")
			}
		}
		if runs.Load() != 1 || misses != 1 {
			t.Errorf("%d runs, %d misses", runs.Load(), misses)
		}
	})
}

func TestWhatIsNotSharedIsNotWaitedFor(t *testing.T) {
	const n = 20
	for name, header := range map[string]string{"cookie": "Set-Cookie: a=b", "no-store": "Cache-Control: no-store", "private": "Cache-Control: private"} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
				var runs, inside atomic.Int64
				all := make(chan struct{})
				s.handle(func(w http.ResponseWriter, r *http.Request) {
					body := fmt.Sprint(runs.Add(1))
					key, value, _ := cutHeader(header)
					w.Header().Set(key, value)
					w.WriteHeader(200)
					if inside.Add(1) == n {
						close(all)
					}
					<-all // all handlers run at one time, or the test never ends
					_, _ = io.WriteString(w, body)
				})
				seen := map[string]bool{}
				for _, rep := range s.crowd(n, "/", nil) {
					if seen[rep.body] {
						t.Errorf("%q was given twice", rep.body)
					}
					seen[rep.body] = true
				}
				if runs.Load() != n {
					t.Errorf("%d runs", runs.Load())
				}
			})
		})
	}
}

func cutHeader(line string) (name, value string, ok bool) {
	for i := range line {
		if line[i] == ':' {
			return line[:i], line[i+2:], true
		}
	}
	return line, "", false
}

// After a URL was found to have nothing to share, nobody waits there for a while.
func TestHitForMiss(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.says(200, "", "Cache-Control: private")
		s.ask("/").miss().told("fwd=uri-miss", "detail=private")
		s.ask("/").miss().told("detail=hit-for-miss")
		noError(t, s.cache.Purge(t.Context(), "/"))
		s.says(200, "")
		s.ask("/").miss().told("stored")
		s.ask("/").hit()
	})
}

// Requests with credentials do not make others wait, or keep them from the store.
func TestCredentialsDoNotDisturbOthers(t *testing.T) {
	const n = 20
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			if user := r.Header.Get("Authorization"); user != "" {
				_, _ = io.WriteString(w, "for "+user)
				return
			}
			_, _ = io.WriteString(w, "for all")
		})
		s.ask("/", "Authorization: ann").miss().content("for ann")
		replies := s.crowd(n, "/", func(i int) []string {
			if i%2 == 0 {
				return []string{fmt.Sprintf("Authorization: %d", i)}
			}
			return nil
		})
		for i, rep := range replies {
			want := "for all"
			if i%2 == 0 {
				want = fmt.Sprintf("for %d", i)
			}
			rep.content(want)
		}
		s.ask("/").hit().content("for all")
		s.ask("/", "Authorization: bob").content("for bob")
	})
}

func TestAnotherTakesOver(t *testing.T) {
	const n = 10
	failures := map[string]func(w http.ResponseWriter, r *http.Request){
		"panic": func(http.ResponseWriter, *http.Request) { panic("a handler's bug") },
		"abort": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "half")
			panic(http.ErrAbortHandler)
		},
		"short body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, "half")
		},
		"end of the goroutine": func(http.ResponseWriter, *http.Request) { runtime.Goexit() },
	}
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
				var runs atomic.Int64
				s.handle(func(w http.ResponseWriter, r *http.Request) {
					if runs.Add(1) == 1 {
						s.waiting(n - 1)
						fail(w, r)
						return
					}
					_, _ = io.WriteString(w, "whole")
				})
				if name == "end of the goroutine" {
					// net/http itself never answers such a request.
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					go s.try(ctx, "/")
					for runs.Load() == 0 {
						runtime.Gosched()
					}
					for _, rep := range s.crowd(n-1, "/", nil) {
						rep.content("whole")
					}
					return
				}
				replies := make(chan *reply, n)
				for range n {
					go func() { replies <- s.try(t.Context(), "/") }()
				}
				failed := 0
				for range n {
					rep := <-replies
					if rep.err != nil {
						failed++
					} else {
						rep.content("whole")
					}
				}
				if failed != 1 || runs.Load() != 2 {
					t.Errorf("%d failed, %d runs", failed, runs.Load())
				}
				s.ask("/").hit().content("whole")
			})
		})
	}
}

// A client that goes away takes its run of the handler with it, and nobody else.
func TestLeaderGoesAway(t *testing.T) {
	const n = 10
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		var runs atomic.Int64
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			if runs.Add(1) == 1 {
				<-r.Context().Done()
				return // an empty 200, for all that anybody knows
			}
			_, _ = io.WriteString(w, "whole")
		})
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan *reply)
		go func() { gone <- s.try(ctx, "/") }()
		for runs.Load() == 0 {
			runtime.Gosched()
		}
		go func() {
			s.waiting(n)
			cancel()
		}()
		for _, rep := range s.crowd(n, "/", nil) {
			rep.content("whole")
		}
		if rep := <-gone; rep.err == nil {
			t.Errorf("the client that left got %d", rep.status)
		}
		if runs.Load() != 2 {
			t.Errorf("%d runs", runs.Load())
		}
		s.ask("/").hit().content("whole")
	})
}

// A client that does not wait any longer leaves the others alone.
func TestWaiterGoesAway(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		release := make(chan struct{})
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
				_, _ = io.WriteString(w, "whole")
			case <-r.Context().Done():
			}
		})
		first := make(chan *reply)
		go func() { first <- s.try(t.Context(), "/") }()
		for s.count() == 0 {
			runtime.Gosched()
		}
		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan *reply)
		go func() { second <- s.try(ctx, "/") }()
		s.waiting(1)
		cancel()
		if rep := <-second; rep.err == nil {
			t.Errorf("the client that left got %d", rep.status)
		}
		close(release)
		(<-first).content("whole")
		s.ask("/").hit()
	})
}

// The handler runs in the goroutine of its request: what hangs on that, a panic first of all, is as without a cache.
func TestHandlersRunInTheirOwnGoroutine(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	recovered := make(chan any, 1)
	s.outer = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				recovered <- recover()
				http.Error(w, "recovered", 500)
			}()
			h.ServeHTTP(w, r)
		})
	}
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "begun")
		panic("bug")
	})
	s.ask("/").code(500).content("recovered\n")
	if v := <-recovered; v != "bug" {
		t.Errorf("recovered %v", v)
	}
}

// What is stale is made anew by one as well.
func TestCoalescedRevalidation(t *testing.T) {
	const n = 20
	everywhere(t, nil, func(t *testing.T, s *site) {
		for _, validated := range []bool{false, true} {
			path := fmt.Sprintf("/%v", validated)
			s.says(200, "content", "Cache-Control: max-age=60, stale-if-error=1000", "Age: 100", `ETag: "1"`)
			s.ask(path).miss()
			var runs atomic.Int64
			before := s.client.Stats().Waits
			s.handle(func(w http.ResponseWriter, r *http.Request) {
				runs.Add(1)
				s.waiting(before + n - 1)
				w.Header().Set("Cache-Control", "max-age=60")
				if validated {
					w.WriteHeader(304)
					return
				}
				_, _ = io.WriteString(w, "new")
			})
			want := "new"
			if validated {
				want = "content"
			}
			for _, rep := range s.crowd(n, path, nil) {
				rep.code(200).content(want)
			}
			if runs.Load() != 1 {
				t.Errorf("%s: %d runs", path, runs.Load())
			}
		}
	})
}

// While a handler fails, what is stale goes to all who wait.
func TestCoalescedStaleIfError(t *testing.T) {
	const n = 20
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.says(200, "content", "Cache-Control: max-age=60, stale-if-error=1000", "Age: 100")
		s.ask("/").miss()
		var runs atomic.Int64
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			runs.Add(1)
			s.waiting(n - 1)
			w.WriteHeader(503)
		})
		for _, rep := range s.crowd(n, "/", nil) {
			rep.code(200).content("content")
		}
		if runs.Load() != 1 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestClosedClient(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	s.ask("/").miss()
	noError(t, s.client.Close())
	s.ask("/").content("run 2")
	s.ask("POST /").code(200)
}

// Closing the client ends a wait.
func TestCloseWhileWaiting(t *testing.T) {
	s := inMemory(t, &Options{TTL: OneMinute})
	release := make(chan struct{})
	s.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("First") != "" {
			<-release
		}
		_, _ = io.WriteString(w, "whole")
	})
	first := make(chan *reply)
	go func() { first <- s.try(t.Context(), "/", "First: 1") }()
	for s.count() == 0 {
		runtime.Gosched()
	}
	second := make(chan *reply)
	go func() { second <- s.try(t.Context(), "/") }()
	s.waiting(1)
	closed := make(chan error)
	go func() { closed <- s.client.Close() }()
	select {
	case rep := <-second:
		rep.content("whole")
	case <-time.After(patience):
		t.Fatal("still waiting")
	}
	close(release)
	(<-first).content("whole")
	noError(t, <-closed)
}
