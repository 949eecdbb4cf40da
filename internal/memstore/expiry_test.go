package memstore

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// TestRounding looks at the last nanosecond of a time to live and at the one after it.
func TestRounding(t *testing.T) {
	for _, test := range []struct{ ttl, want time.Duration }{
		{1, time.Millisecond},
		{time.Microsecond, time.Millisecond},
		{time.Millisecond, time.Millisecond},
		{time.Millisecond + 1, 2 * time.Millisecond},
		{1500 * time.Microsecond, 2 * time.Millisecond},
		{time.Hour, time.Hour},
		{time.Hour - 1, time.Hour},
	} {
		t.Run(test.ttl.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := New(small)
				put(t, s, "set", nil, test.ttl)
				lease(t, s, "lease", "lease", test.ttl)
				lock(t, s, "lock", "token", test.ttl)
				enter(t, s, "semaphore", "token", test.ttl)
				advance(t, s, test.ttl, "first", "tag")
				check := func(want bool) {
					t.Helper()
					for _, key := range []string{"set", "lease", "lock"} {
						if got := get(t, s, key) != nil; got != want {
							t.Errorf("after %v, %s is there: %t, want %t", s.now()-1, key, got, want)
						}
					}
					if got := holders(t, s, "semaphore") == 1; got != want {
						t.Errorf("after %v, the semaphore has a holder: %t, want %t", s.now()-1, got, want)
					}
					if got := stampOf(t, s, "tag") != 0; got != want {
						t.Errorf("after %v, the tag is there: %t, want %t", s.now()-1, got, want)
					}
				}
				time.Sleep(test.want - 1)
				check(true)
				time.Sleep(time.Nanosecond)
				check(false)
			})
		})
	}
}

func TestNever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		time.Sleep(time.Hour)
		for _, ttl := range []time.Duration{-1, math.MaxInt64, math.MaxInt64 - time.Hour} {
			put(t, s, ttl.String(), nil, ttl)
		}
		advance(t, s, time.Second, "first", "tag")
		time.Sleep(100 * 365 * 24 * time.Hour)
		for _, ttl := range []time.Duration{-1, math.MaxInt64, math.MaxInt64 - time.Hour} {
			if get(t, s, ttl.String()) == nil {
				t.Errorf("a value with a ttl of %d is gone", ttl)
			}
		}
		if stampOf(t, s, "first") == 0 || stampOf(t, s, "tag") != 0 {
			t.Error("the first tag is gone, or the second is not")
		}
	})
}

// TestReclaim lets many keys, semaphores and tags expire that nobody touches again. Writes to one other key must free them.
func TestReclaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(1 << 30)
		const n = 4000
		for i := range n {
			put(t, s, fmt.Sprint("value", i), []byte("value"), time.Second)
			lease(t, s, fmt.Sprint("lease", i), "lease", time.Second)
			enter(t, s, fmt.Sprint("semaphore", i), "short", time.Second)
			enter(t, s, fmt.Sprint("semaphore", i), "shorter", time.Millisecond)
			advance(t, s, time.Second, "first", fmt.Sprint("tag", i))
		}
		time.Sleep(2 * time.Second)
		enter(t, s, "some", "for ever", -1)
		enter(t, s, "some", "short", time.Millisecond)
		time.Sleep(time.Second)
		for range n {
			put(t, s, "other", []byte("value"), time.Hour)
		}
		entries, timers, queued, tags, tagTimers := size(s)
		if holders(t, s, "some") != 1 {
			t.Error("a holder without expiry is gone, or one that has expired is there")
		}
		if entries != 2 || timers != 1 || queued != 1 || tags != 1 || tagTimers != 0 {
			t.Errorf("%d entries, %d timers, %d in the queue, %d tags and %d of their timers are in memory, want 2 1 1 1 0",
				entries, timers, queued, tags, tagTimers)
		}
		checkBooks(t, s)
	})
}

// TestExpiredMakesRoom: what has expired goes before anything that is alive.
func TestExpiredMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		n := small / 2 / (1000 + entryOverhead + 10)
		for i := range n {
			put(t, s, fmt.Sprint("alive", i), make([]byte, 1000), time.Hour)
			put(t, s, fmt.Sprint("dead", i), make([]byte, 1000), time.Second)
		}
		time.Sleep(2 * time.Second)
		for i := range n {
			put(t, s, fmt.Sprint("new", i), make([]byte, 1000), time.Hour)
		}
		for i := range n {
			if get(t, s, fmt.Sprint("alive", i)) == nil {
				t.Fatalf("value %d was evicted though others had expired", i)
			}
		}
	})
}
