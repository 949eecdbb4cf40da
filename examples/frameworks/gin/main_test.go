package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-cachify/cachify"
)

func TestRouter(t *testing.T) {
	client := cachify.New(cachify.Memory(), nil)
	defer client.Close()
	srv := httptest.NewServer(newRouter(client))
	defer srv.Close()
	ask := func(method, path, cache string, status int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != status || res.Header.Get("X-Cache") != cache || len(res.Header["Cache-Status"]) != 1 {
			t.Fatalf("%s %s: %d %v, want %d %s: %q %v", method, path, res.StatusCode, res.Header, status, cache, body, err)
		}
		return string(body)
	}
	first := ask("GET", "/users/42", "Miss", 200)
	if second := ask("GET", "/users/42", "Hit", 200); second != first {
		t.Errorf("%q, then %q", first, second)
	}
	other := ask("GET", "/users/43", "Miss", 200)
	ask("PUT", "/users/42", "Miss", 204)
	if third := ask("GET", "/users/42", "Miss", 200); third == first {
		t.Errorf("after a write: %q", third)
	}
	if again := ask("GET", "/users/43", "Hit", 200); again != other {
		t.Errorf("%q, then %q", other, again)
	}
	if err := client.ResetTags(context.Background(), "users"); err != nil {
		t.Fatal(err)
	}
	ask("GET", "/users/43", "Miss", 200)
	for range 2 {
		ask("GET", "/nowhere", "Miss", 404)
		ask("GET", "/panic", "Miss", 500)
		if body := ask("GET", "/events", "Miss", 200); body == "" {
			t.Error("no event")
		}
	}
}
