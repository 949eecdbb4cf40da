package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// patience bounds everything that a test waits for.
const patience = 30 * time.Second

// eachStore runs f on every store. open gives one more instance its store: all of a test share what is in it.
func eachStore(t *testing.T, f func(t *testing.T, open func() cachify.Store)) {
	t.Run("embedded", func(t *testing.T) {
		store := cachify.Memory()
		f(t, func() cachify.Store { return store })
	})
	t.Run("miniredis", func(t *testing.T) {
		_, mini := redistest.Mini(t)
		f(t, func() cachify.Store { return redisAt(t, mini.Addr()) })
	})
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		f(t, func() cachify.Store { return redisAt(t, server.Addr()) })
	})
}

// redisAt gives the store that REDIS_URL gives.
func redisAt(t *testing.T, addr string) cachify.Store {
	store, closeStore, err := openStore("redis://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = closeStore() })
	return store
}

// An instance is the whole service, over HTTP, with a database whose calls are counted and can be held.
type instance struct {
	url     string
	handler http.Handler
	svc     *service
	calls   atomic.Int64                                // of the database
	pause   atomic.Pointer[func(context.Context) error] // what each of them does first
	log     lockedBuffer
}

// newInstance starts an instance; db is [newDB]'s, or another instance's.
func newInstance(t *testing.T, store cachify.Store, db string) *instance {
	t.Helper()
	i := new(instance)
	repo, err := openRepository(t.Context(), db, func(ctx context.Context) error {
		i.calls.Add(1)
		if pause := i.pause.Load(); pause != nil {
			return (*pause)(ctx)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(&i.log, nil))
	client := cachify.New(store, &cachify.Options{Prefix: "users:", Logger: log})
	i.svc = newService(client, repo, log)
	i.handler = newHandler(i.svc, log)
	server := httptest.NewServer(i.handler)
	i.url = server.URL
	t.Cleanup(func() {
		server.Close()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
		if err := repo.Close(); err != nil {
			t.Error(err)
		}
	})
	return i
}

// newDB gives a seeded database. It is a copy of one that is seeded once: under the race detector that takes seconds.
func newDB(t *testing.T) string {
	t.Helper()
	content, err := seededDB()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "users.db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

var seededDB = sync.OnceValues(func() ([]byte, error) {
	repo, err := openRepository(context.Background(), "", nil)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(repo.tempDir, "copy.db")
	_, err = repo.db.Exec(`VACUUM INTO ?`, path)
	content, readErr := os.ReadFile(path)
	return content, errors.Join(err, readErr, repo.Close())
})

// hold makes database calls wait until the test calls release, or until their ctx ends. Each is told of in entered.
func (i *instance) hold() (entered <-chan struct{}, release func()) {
	calls, gate := make(chan struct{}, 1000), make(chan struct{})
	wait := func(ctx context.Context) error {
		calls <- struct{}{}
		select {
		case <-gate:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	i.pause.Store(&wait)
	return calls, func() { close(gate) }
}

// receive takes from c, but not for ever.
func receive[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatal("waited in vain")
	}
	return v
}

// A lockedBuffer can be read while others still write to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A response is an answer with its body read, or the error in place of one.
type response struct {
	status int
	header http.Header
	body   string
	err    error
}

// send may be called from any goroutine: it reports by its result alone.
func send(ctx context.Context, method, url, body string) response {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewBufferString(body))
	if err != nil {
		return response{err: err}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return response{err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return response{resp.StatusCode, resp.Header, string(b), err}
}

// do sends a request and fails the test unless the answer has the status wanted, is JSON and says how long it took.
func (i *instance) do(t *testing.T, method, path, body string, status int) response {
	t.Helper()
	got := send(t.Context(), method, i.url+path, body)
	got.check(t, method+" "+path, status)
	return got
}

func (r response) check(t *testing.T, what string, status int) {
	t.Helper()
	if r.err != nil || r.status != status {
		t.Fatalf("%s: status %d, %v, want %d: %s", what, r.status, r.err, status, r.body)
	}
	if !json.Valid([]byte(r.body)) || r.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s: not JSON: %q, %v", what, r.body, r.header)
	}
	var ms float64
	if _, err := fmt.Sscanf(r.header.Get("Server-Timing"), "app;dur=%g", &ms); err != nil || ms < 0 {
		t.Fatalf("%s: Server-Timing %q: %v", what, r.header.Get("Server-Timing"), err)
	}
}

// get reads path, which must be there and come from where it is said ("hit" or "miss"), into a V.
func get[V any](t *testing.T, i *instance, path, cache string) V {
	t.Helper()
	resp := i.do(t, "GET", path, "", http.StatusOK)
	if got := resp.header.Get("X-Cache"); got != cache {
		t.Fatalf("GET %s: X-Cache %q, want %q", path, got, cache)
	}
	return parse[V](t, resp)
}

func parse[V any](t *testing.T, resp response) (v V) {
	t.Helper()
	if err := json.Unmarshal([]byte(resp.body), &v); err != nil {
		t.Fatalf("%v: %s", err, resp.body)
	}
	return v
}
