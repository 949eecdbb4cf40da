package memstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
)

func fenced(token string, keys ...string) claim.Claim {
	return claim.Claim{Keys: keys, Token: token, TTL: time.Hour, Fences: keys}
}

// TestFencesInABubble: while the clock stands still, and when it goes back, the numbers grow all the same.
func TestFencesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		first, ok, err := s.Lock(t.Context(), fenced("token 0", "a", "b"), "")
		if want := time.Now().UnixMicro(); err != nil || !ok || first != want {
			t.Fatalf("the first fencing token is %d (%t, %v), want the clock's %d", first, ok, err, want)
		}
		last := first
		for i := range 100 {
			fence, ok, err := s.Lock(t.Context(), fenced(fmt.Sprint("token ", i+1), "b", "a"), fmt.Sprint("token ", i))
			if err != nil || !ok || fence <= last {
				t.Fatalf("hand-over %d gave the fencing token %d (%t, %v) after %d", i, fence, ok, err, last)
			}
			last = fence
		}
		time.Sleep(time.Second)
		fence, ok, err := s.Fence(t.Context(), fenced("token 100", "a", "b"))
		if err != nil || !ok || fence != last {
			t.Errorf("Fence gave %d (%t, %v) to the holder of %d", fence, ok, err, last)
		}
		lock(t, s, "c", "token", time.Hour)
		fence, _, _ = s.Fence(t.Context(), fenced("token", "c"))
		if want := time.Now().UnixMicro(); fence != want {
			t.Errorf("a second later the fencing token is %d, want the clock's %d", fence, want)
		}
		s.fences.Add(time.Hour.Microseconds()) // as if the clock had gone back by an hour
		lock(t, s, "d", "token", time.Hour)
		if next, _, _ := s.Fence(t.Context(), fenced("token", "d")); next <= fence+time.Hour.Microseconds() {
			t.Errorf("with a clock that went back the fencing token is %d after %d", next, fence+time.Hour.Microseconds())
		}
		checkBooks(t, s)
	})
}

// TestFenceEndsWithTheHolding: a value or a lease in the place of a lock is no holding, and has no number.
func TestFenceEndsWithTheHolding(t *testing.T) {
	s := New(small)
	before, _, err := s.Lock(t.Context(), fenced("token", "key"), "")
	if err != nil || before == 0 {
		t.Fatalf("Lock gave %d, %v", before, err)
	}
	put(t, s, "key", []byte("token"), time.Hour)
	if after, ok, err := s.Fence(t.Context(), fenced("token", "key")); err != nil || ok && after <= before {
		t.Errorf("after a Set over the lock, Fence gave %d (%t, %v); the lock had %d", after, ok, err, before)
	}
	checkBooks(t, s)
}

// TestLockOverAValue: what was written by Set may be evicted, a lock that has taken its place may not.
func TestLockOverAValue(t *testing.T) {
	s := New(small)
	put(t, s, "key", []byte("value"), time.Hour)
	if _, ok, err := s.Lock(t.Context(), one("key", "token", time.Hour), "value"); err != nil || !ok {
		t.Fatalf("Lock gave %t, %v", ok, err)
	}
	for i := range 2 * small / 1000 {
		put(t, s, fmt.Sprint("value", i), make([]byte, 1000), time.Hour)
	}
	if get(t, s, "key") == nil {
		t.Error("a lock was evicted")
	}
	checkBooks(t, s)
}

// TestTwoKinds uses a semaphore's key for other things, and the other way round.
func TestTwoKinds(t *testing.T) {
	s := New(small)
	enter(t, s, "semaphore", "token", time.Hour)
	lock(t, s, "lock", "token", time.Hour)
	semaphore, ttl := []string{"semaphore"}, []time.Duration{time.Hour}
	joined := func(_ []bool, errs []error) error { return errors.Join(errs...) }
	last := func(values ...any) error { err, _ := values[len(values)-1].(error); return err }
	for name, err := range map[string]error{
		"a semaphore: Get":                last(s.Get(t.Context(), semaphore, nil, nil)),
		"a semaphore: Lease":              last(s.Lease(t.Context(), []byte("lease"), time.Hour, semaphore, nil, nil)),
		"a semaphore: Set":                last(s.Set(t.Context(), nil, semaphore, [][]byte{[]byte("value")}, ttl, nil)),
		"a semaphore: Set with head":      last(s.Set(t.Context(), []byte("head"), semaphore, [][]byte{[]byte("value")}, ttl, nil)),
		"a semaphore: Expire":             last(s.Expire(t.Context(), nil, time.Hour, semaphore)),
		"a semaphore: Delete with head":   last(s.Delete(t.Context(), []byte("token"), semaphore)),
		"a semaphore: Lock":               last(s.Lock(t.Context(), one("semaphore", "token", time.Hour), "")),
		"a semaphore: Lock of several":    last(s.Lock(t.Context(), fenced("token", "free", "semaphore"), "")),
		"a semaphore: Lock from":          last(s.Lock(t.Context(), one("semaphore", "other", time.Hour), "token")),
		"a semaphore: Extend":             joined(s.Extend(t.Context(), []claim.Claim{one("semaphore", "token", time.Hour)})),
		"a semaphore: Unlock":             last(s.Unlock(t.Context(), one("semaphore", "token", time.Hour))),
		"a semaphore: Fence":              last(s.Fence(t.Context(), fenced("token", "semaphore"))),
		"a semaphore: Holders":            last(s.Holders(t.Context(), "semaphore", false)),
		"not a semaphore: Lock of a slot": last(s.Lock(t.Context(), slot("lock", "token", time.Hour), "")),
		"not a semaphore: from":           last(s.Lock(t.Context(), slot("lock", "other", time.Hour), "token")),
		"not a semaphore: Extend":         joined(s.Extend(t.Context(), []claim.Claim{slot("lock", "token", time.Hour)})),
		"not a semaphore: Unlock":         last(s.Unlock(t.Context(), slot("lock", "token", time.Hour))),
		"not a semaphore: Holders":        last(s.Holders(t.Context(), "lock", true)),
	} {
		what, _, _ := strings.Cut(name, ": ")
		if err == nil || !strings.HasPrefix(err.Error(), "cachify: memory: key ") || !strings.Contains(err.Error(), what) || !errors.Is(err, claim.ErrWrongType) {
			t.Errorf("%s gave %v", name, err)
		}
	}
	if get(t, s, "free") != nil || string(get(t, s, "lock")) != "token" || holders(t, s, "semaphore") != 1 {
		t.Error("a call that gave an error has changed something")
	}
	done, err := s.Delete(t.Context(), nil, semaphore)
	if err != nil || !done[0] || holders(t, s, "semaphore") != 0 {
		t.Errorf("Delete of a semaphore without a head gave %v, %v", done, err)
	}
	checkBooks(t, s)
}

// TestExtendGoesOn: one claim that can't be extended does not keep the others from it.
func TestExtendGoesOn(t *testing.T) {
	s := New(small)
	enter(t, s, "semaphore", "token", time.Hour)
	lock(t, s, "lock", "token", time.Hour)
	done, errs := s.Extend(t.Context(), []claim.Claim{
		one("semaphore", "token", time.Hour), one("lock", "token", time.Hour), one("lock", "other", time.Hour), slot("semaphore", "token", time.Hour)})
	if done[0] || !done[1] || done[2] || !done[3] || len(errs) != 4 || errs[0] == nil || errs[1] != nil || errs[2] != nil || errs[3] != nil {
		t.Errorf("Extend gave %v, %v", done, errs)
	}
	if done, errs = s.Extend(t.Context(), []claim.Claim{one("lock", "token", time.Hour)}); !done[0] || errs != nil {
		t.Errorf("Extend gave %v, %v", done, errs)
	}
}
