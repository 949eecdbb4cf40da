package memstore

import (
	"testing"
	"time"
)

func put(t testing.TB, s *Store, key string, value []byte, ttl time.Duration) {
	t.Helper()
	done, _, err := s.Set(t.Context(), nil, []string{key}, [][]byte{value}, []time.Duration{ttl}, nil)
	if err != nil || !done[0] {
		t.Fatalf("Set(%q) gave %v, %v", key, done, err)
	}
}

func get(t testing.TB, s *Store, key string) []byte {
	t.Helper()
	values, _, err := s.Get(t.Context(), []string{key}, nil)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	return values[0]
}

func lease(t testing.TB, s *Store, key, lease string, ttl time.Duration) {
	t.Helper()
	values, _, err := s.Lease(t.Context(), []byte(lease), ttl, []string{key}, nil)
	if err != nil || values[0] != nil {
		t.Fatalf("Lease(%q) gave %q, %v, want nil", key, values, err)
	}
}

func lock(t testing.TB, s *Store, key, token string, ttl time.Duration) {
	t.Helper()
	if ok, err := s.Lock(t.Context(), key, token, ttl); err != nil || !ok {
		t.Fatalf("Lock(%q) gave %t, %v", key, ok, err)
	}
}

func advance(t testing.TB, s *Store, ttl time.Duration, tags ...string) int64 {
	t.Helper()
	stamp, err := s.Advance(t.Context(), ttl, tags)
	if err != nil {
		t.Fatalf("Advance(%q): %v", tags, err)
	}
	return stamp
}

func stampOf(t testing.TB, s *Store, tag string) int64 {
	t.Helper()
	_, stamps, err := s.Get(t.Context(), nil, []string{tag})
	if err != nil {
		t.Fatalf("Get of tag %q: %v", tag, err)
	}
	return stamps[0]
}

// size counts what is in memory, expired or not.
func size(s *Store) (entries, timers, queued, tags, tagTimers int) {
	for i := range s.shards {
		entries += len(s.shards[i].entries)
		timers += len(s.shards[i].expiry.heap)
		queued += s.shards[i].sieve.length
	}
	s.tags.tags.Range(func(_, _ any) bool { tags++; return true })
	return entries, timers, queued, tags, len(s.tags.expiry.heap)
}
