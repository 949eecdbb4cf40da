package redisstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

func TestExpected(t *testing.T) {
	e := newExpected()
	for i := range hitsInARow {
		if e.has("k") {
			t.Fatalf("expected after %d hits", i)
		}
		e.note("k", true)
	}
	for range 3 {
		if !e.has("k") {
			t.Fatalf("not expected after %d hits", hitsInARow)
		}
		e.note("k", true)
	}
	for i := range 100_000 { // some of them in k's slot
		if key := fmt.Sprint(i); e.has(key) {
			t.Fatalf("%s is expected", key)
		}
	}
	e.note("k", false)
	if e.has("k") {
		t.Error("expected after a miss")
	}
}

// TestExpectedHit counts what the server does for a hit that was expected, and when it was expected in vain.
func TestExpectedHit(t *testing.T) {
	server := redistest.Start(t)
	s := New(server.Client(t))
	ctx, tags := within(t, 30*time.Second), []string{"{t}", "{t}a"}
	lease := func(key, want string) map[string]int {
		t.Helper()
		server.ResetCalls()
		values, stamps, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{key}, tags, nil)
		noError(t, err)
		if string(values[0]) != want || len(stamps) != len(tags) {
			t.Errorf("value %q, stamps %v, want %q", values[0], stamps, want)
		}
		return server.Calls()
	}
	counts := func(calls map[string]int, sets, mgets int) {
		t.Helper()
		if calls["set"] != sets || calls["mget"] != mgets {
			t.Errorf("commands %v, want %d set and %d mget", calls, sets, mgets)
		}
	}
	for _, key := range []string{"expires", "is deleted"} {
		_, _, err := s.Set(ctx, nil, []string{key}, [][]byte{[]byte("value")}, []time.Duration{time.Minute}, tags)
		noError(t, err)
		for range hitsInARow {
			counts(lease(key, "value"), 1, 1)
		}
		counts(lease(key, "value"), 0, 1)
	}
	noError(t, server.Client(t).Del(ctx, "expires").Err())
	counts(lease("expires", ""), 1, 2)
	counts(lease("expires", "lease"), 1, 1)
	_, err := s.Delete(ctx, nil, []string{"is deleted"})
	noError(t, err)
	counts(lease("is deleted", ""), 1, 1)
}
