package memstore

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
)

// TestSlotsUnderTidying lets the timer of a semaphore end many times while its holders are extended, and other keys are
// written to, whose writes tidy up. Nobody may lose a slot before its time, and nobody may keep one.
func TestSlotsUnderTidying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		enter(t, s, "key", "renewed", time.Second)
		enter(t, s, "key", "for ever", -1)
		enter(t, s, "key", "left alone", 10*time.Second)
		for second := range 20 {
			time.Sleep(time.Second - 1)
			if done, errs := s.Extend(t.Context(), []claim.Claim{slot("key", "renewed", 1500*time.Millisecond)}); !done[0] || errs != nil {
				t.Fatalf("after %d seconds, Extend gave %v, %v", second, done, errs)
			}
			time.Sleep(time.Nanosecond)
			for i := range 2 * shardCount {
				put(t, s, fmt.Sprint(i), nil, time.Hour)
			}
			want := 3
			if second >= 9 {
				want = 2
			}
			e := s.shard("key").entries["key"]
			if len(e.slots()) != want {
				t.Fatalf("after %d seconds there are %d holders, want %d", second+1, len(e.slots()), want)
			}
			checkBooks(t, s)
		}
		if _, err := s.Unlock(t.Context(), slot("key", "for ever", 0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		for i := range 2 * shardCount {
			put(t, s, fmt.Sprint(i), nil, time.Hour)
		}
		if e := s.shard("key").entries["key"]; e != nil {
			t.Errorf("a semaphore without holders is in memory: %v", e.slots())
		}
		checkBooks(t, s)
	})
}

// TestHoldersLeft: the time that is left is exact, and NoExpiry for ever.
func TestHoldersLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		for _, c := range []struct {
			ttl, want time.Duration
		}{{time.Minute, 50 * time.Second}, {time.Minute + 1, 50*time.Second + time.Millisecond}, {-1, -1}} {
			key := c.ttl.String()
			enter(t, s, "semaphore"+key, "token", c.ttl)
			lock(t, s, "lock"+key, "token", c.ttl)
			time.Sleep(10 * time.Second)
			for kind, semaphore := range map[string]bool{"semaphore": true, "lock": false} {
				tokens, left, err := s.Holders(t.Context(), kind+key, semaphore)
				if err != nil || len(tokens) != 1 || tokens[0] != "token" || left[0] != c.want {
					t.Errorf("10 seconds after a %s was taken for %v, Holders gave %q, %v, %v", kind, c.ttl, tokens, left, err)
				}
			}
		}
	})
}
