package memstore

import (
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
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
	values, _, err := s.Get(t.Context(), []string{key}, nil, nil)
	if err != nil {
		t.Fatalf("Get(%q): %v", key, err)
	}
	return values[0]
}

func lease(t testing.TB, s *Store, key, lease string, ttl time.Duration) {
	t.Helper()
	values, _, err := s.Lease(t.Context(), []byte(lease), ttl, []string{key}, nil, nil)
	if err != nil || values[0] != nil {
		t.Fatalf("Lease(%q) gave %q, %v, want nil", key, values, err)
	}
}

func lock(t testing.TB, s *Store, key, token string, ttl time.Duration) {
	t.Helper()
	if _, ok, err := s.Lock(t.Context(), one(key, token, ttl), ""); err != nil || !ok {
		t.Fatalf("Lock(%q) gave %t, %v", key, ok, err)
	}
}

// one is the claim of a lock.
func one(key, token string, ttl time.Duration) claim.Claim {
	return claim.Claim{Keys: []string{key}, Token: token, TTL: ttl}
}

// slot is the claim of one of three slots.
func slot(key, token string, ttl time.Duration) claim.Claim {
	return claim.Claim{Keys: []string{key}, Token: token, TTL: ttl, Slots: 3}
}

func enter(t testing.TB, s *Store, key, token string, ttl time.Duration) {
	t.Helper()
	if _, ok, err := s.Lock(t.Context(), slot(key, token, ttl), ""); err != nil || !ok {
		t.Fatalf("Lock of a slot of %q gave %t, %v", key, ok, err)
	}
}

func holders(t testing.TB, s *Store, key string) int {
	t.Helper()
	tokens, left, err := s.Holders(t.Context(), key, true)
	if err != nil || len(tokens) != len(left) {
		t.Fatalf("Holders(%q) gave %q, %v, %v", key, tokens, left, err)
	}
	return len(tokens)
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
	_, stamps, err := s.Get(t.Context(), nil, []string{tag}, nil)
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

// checkBooks compares what the store counts with what is there.
func checkBooks(t *testing.T, s *Store) {
	t.Helper()
	var bytes int64
	for i := range s.shards {
		sh := &s.shards[i]
		timed, evictable := 0, 0
		for key, e := range sh.entries {
			bytes += e.size()
			if e.slots() != nil {
				checkSlots(t, key, e)
			}
			if e.until.Load() != never {
				timed++
			}
			if e.evictable {
				evictable++
			}
		}
		queued := 0
		for e := sh.sieve.oldest; e != nil; e = e.newer {
			queued++
		}
		if queued != evictable || queued != sh.sieve.length || timed != len(sh.expiry.heap) {
			t.Errorf("shard %d: %d of %d evictable values in the queue, whose length is %d; %d of %d timers in the heap",
				i, queued, evictable, sh.sieve.length, len(sh.expiry.heap), timed)
		}
	}
	for i := range s.shards {
		checkHeap(t, s.shards[i].expiry.heap)
	}
	checkHeap(t, s.tags.expiry.heap)
	if bytes != s.used.Load() {
		t.Errorf("the entries take %d bytes, the store counts %d", bytes, s.used.Load())
	}
	var tags int64
	s.tags.tags.Range(func(name, _ any) bool { tags += int64(len(name.(string))) + tagOverhead; return true })
	if tags != s.tags.used.Load() {
		t.Errorf("the tags take %d bytes, the store counts %d", tags, s.tags.used.Load())
	}
}

// checkSlots: a semaphore has a holder, no value, and a timer that ends before any holder does.
func checkSlots(t *testing.T, key string, e *entry) {
	t.Helper()
	if len(e.slots()) == 0 || e.value != "" || e.evictable {
		t.Errorf("semaphore %q has %d holders and the value %q; it is evictable: %t", key, len(e.slots()), e.value, e.evictable)
	}
	for token, until := range e.slots() {
		if until < e.until.Load() {
			t.Errorf("semaphore %q: holder %q ends at %d, before the timer at %d", key, token, until, e.until.Load())
		}
	}
}

func checkHeap(t *testing.T, h timerHeap) {
	t.Helper()
	for i, timer := range h {
		if timer.place != i {
			t.Errorf("a timer at %d of the heap believes it is at %d", i, timer.place)
		}
		if i > 0 && h.Less(i, (i-1)/2) {
			t.Errorf("the timer at %d of the heap ends before the one above it", i)
		}
	}
}
