package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// A session is a client of the example.
type session struct {
	t     *testing.T
	srv   *httptest.Server
	users *users
}

func eachStore(t *testing.T, test func(s *session)) {
	t.Run("memory", func(t *testing.T) { test(newSession(t, cachify.Memory())) })
	t.Run("redis", func(t *testing.T) { test(newSession(t, cachify.Redis(redistest.Start(t).Client(t)))) })
}

func newSession(t *testing.T, store cachify.Store) *session {
	client := cachify.New(store, &cachify.Options{Logger: slog.New(slog.DiscardHandler), OpTimeout: 30 * time.Second})
	t.Cleanup(func() { _ = client.Close() })
	users := newUsers(0)
	handler, err := newHandler(client, users)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return &session{t, srv, users}
}

// ask sends a request and checks status and X-Users-Cache ("200 Hit"), and whether the users were looked at.
func (s *session) ask(method, path, body, want string, headers ...string) (string, http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.srv.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	before := s.users.looks()
	res, err := s.srv.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	got := strconv.Itoa(res.StatusCode) + " " + res.Header.Get("X-Users-Cache")
	if got != want {
		s.t.Fatalf("%s %s: %s, want %s: %s", method, path, got, want, content)
	}
	if res.Header.Get("X-Users-Cache") == "Hit" && s.users.looks() != before {
		s.t.Fatalf("%s %s: a hit has looked at the users", method, path)
	}
	return string(content), res.Header
}

// The session of the README.
func TestSession(t *testing.T) {
	eachStore(t, func(s *session) {
		first, header := s.ask("GET", "/users/42", "", "200 Miss")
		second, _ := s.ask("GET", "/users/42", "", "200 Hit")
		if first != second || !strings.Contains(first, `"User 42"`) {
			s.t.Errorf("%q, then %q", first, second)
		}
		s.ask("GET", "/users/42", "", "304 Hit", "If-None-Match", header.Get("ETag"))
		s.ask("GET", "/users/42", "", "200 Miss", "Cache-Control", "no-cache")
		s.ask("GET", "/users/42?utm_source=mail", "", "200 Hit")
		s.ask("GET", "/users?skip=41&limit=2", "", "200 Miss")
		s.ask("GET", "/users?limit=2&skip=41", "", "200 Hit")
		s.ask("GET", "/users/43", "", "200 Miss")
		page, _ := s.ask("GET", "/", "", "200 Miss")
		_, header = s.ask("GET", "/", "", "200 Hit")
		if got := header.Get("Cache-Control"); !strings.HasPrefix(got, "max-age=6") { // of the minute, and the age beside it
			s.t.Errorf("Cache-Control: %q", got)
		}
		if !strings.Contains(page, `<a href="/users/10">User 10</a>`) {
			s.t.Error(page)
		}

		s.ask("PUT", "/users/42", `{"name":"Ann","email":"ann@example.com"}`, "200 Miss")
		if got, _ := s.ask("GET", "/users/42", "", "200 Miss"); !strings.Contains(got, `"Ann"`) {
			s.t.Error(got)
		}
		if got, _ := s.ask("GET", "/users?limit=2&skip=41", "", "200 Miss"); !strings.Contains(got, `"Ann"`) {
			s.t.Error(got)
		}
		s.ask("GET", "/", "", "200 Miss")
		s.ask("GET", "/users/43", "", "200 Hit") // which nobody has changed

		_, header = s.ask("POST", "/users/", `{"name":"Bob","email":"bob@example.com"}`, "201 Miss")
		if header.Get("Location") != "/users/20001" {
			s.t.Errorf("Location: %q", header.Get("Location"))
		}
		s.ask("GET", "/users/20001", "", "200 Miss")
		s.ask("GET", "/users/20002", "", "404 Miss")
		s.ask("GET", "/users/20002", "", "404 Miss") // errors are not stored
		s.ask("GET", "/users/x", "", "400 Miss")
	})
}

// The stream comes as it is written, to two clients at a time, and ends with them.
func TestEvents(t *testing.T) {
	eachStore(t, func(s *session) {
		var streams []*bufio.Scanner
		for range 2 {
			ctx, cancel := context.WithCancel(s.t.Context())
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, "GET", s.srv.URL+"/events", nil)
			if err != nil {
				s.t.Fatal(err)
			}
			res, err := s.srv.Client().Do(req)
			if err != nil {
				s.t.Fatal(err)
			}
			defer res.Body.Close()
			streams = append(streams, bufio.NewScanner(res.Body))
		}
		for n := range 3 {
			for _, stream := range streams {
				for _, want := range []string{"event: users", "data: " + strconv.Itoa(seeded+n), ""} {
					if !stream.Scan() || stream.Text() != want {
						s.t.Fatalf("%q, want %q: %v", stream.Text(), want, stream.Err())
					}
				}
			}
			s.ask("POST", "/users/", `{"name":"Bob"}`, "201 Miss")
		}
	})
}

// A short download is stored, a long one is not; both are whole.
func TestExport(t *testing.T) {
	eachStore(t, func(s *session) {
		for rows, second := range map[int]string{1000: "200 Hit", 200_000: "200 Miss"} {
			path := "/export?rows=" + strconv.Itoa(rows)
			for _, want := range []string{"200 Miss", second} {
				body, _ := s.ask("GET", path, "", want)
				if n := strings.Count(body, "\n"); n != rows+1 {
					s.t.Errorf("%s: %d lines", path, n)
				}
			}
		}
	})
}
