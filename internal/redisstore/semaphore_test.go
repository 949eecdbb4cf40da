package redisstore

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestSemaphore(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		for _, ttl := range []time.Duration{time.Minute, NoExpiry} {
			noError(t, rdb.FlushAll(ctx).Err())
			s := func(token string) bool { return h.lock(slot(token, ttl, "sem", 2)) }
			for _, step := range []struct {
				name      string
				got, want bool
			}{
				{"first", s("a"), true},
				{"second", s("b"), true},
				{"third", s("c"), false},
				{"first again", s("a"), true},
				{"a larger one", h.lock(slot("c", ttl, "sem", 3)), true},
				{"extend", h.extend(slot("b", ttl, "sem", 2)), true},
				{"extend of none", h.extend(slot("d", ttl, "sem", 9)), false},
				{"over", h.lockFrom("a")(slot("d", ttl, "sem", 2)), true},
				{"over again", h.lockFrom("a")(slot("d", ttl, "sem", 2)), true},
				{"over from none", h.lockFrom("a")(slot("e", ttl, "sem", 9)), false},
				{"to itself", h.lockFrom("d")(slot("d", ttl, "sem", 2)), true},
				{"unlock of none", h.unlock(slot("a", 0, "sem", 2)), false},
				{"unlock", h.unlock(slot("c", 0, "sem", 2)), true},
				{"unlock again", h.unlock(slot("c", 0, "sem", 2)), false},
				{"still full", s("e"), false},
				{"unlock of another", h.unlock(slot("d", 0, "sem", 2)), true},
				{"free", s("e"), true},
			} {
				if step.got != step.want {
					t.Errorf("%s, for %v: %t, want %t", step.name, ttl, step.got, step.want)
				}
			}
			members := rdb.ZRange(ctx, "sem", 0, -1).Val()
			slices.Sort(members)
			if !slices.Equal(members, []string{"b", "e"}) {
				t.Errorf("at the end %v hold slots", members)
			}
			h.unlock(slot("b", 0, "sem", 2))
			h.unlock(slot("e", 0, "sem", 2))
			if n := rdb.DBSize(ctx).Val(); n != 0 {
				t.Errorf("%d keys are left", n)
			}
		}
	})
}

// TestSemaphoreExpiry: the slot of a holder that died is free when its ttl has ended, and its key goes with the last.
func TestSemaphoreExpiry(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		h := holder{t, s}
		ctx := within(t, 10*time.Second)
		const short = 60 * time.Millisecond
		start := time.Now()
		h.lock(slot("stays", time.Minute, "sem", 3))
		for _, token := range []string{"a", "b"} {
			if !h.lock(slot(token, short, "sem", 3)) {
				t.Fatal("full")
			}
		}
		h.lock(slot("a", short, "other", 1))
		for _, token := range []string{"c", "d"} {
			waitFor(t, "a slot is free", func() bool { return h.lock(slot(token, time.Minute, "sem", 3)) })
		}
		if took := time.Since(start); took < short {
			t.Errorf("a slot is free after %v of %v", took, short)
		}
		for _, token := range []string{"a", "b"} {
			if c := slot(token, time.Minute, "sem", 3); h.extend(c) || h.lockFrom(token)(slot("e", time.Minute, "sem", 3)) || h.unlock(c) {
				t.Errorf("%s still has its slot", token)
			}
		}
		waitFor(t, "the key is gone", func() bool { return rdb.Exists(ctx, "other").Val() == 0 })

		// What has expired and was not swept yet.
		now := float64(time.Now().UnixMicro())
		noError(t, rdb.ZAdd(ctx, "old", redis.Z{Score: now - 1, Member: "a"}, redis.Z{Score: now + 3600e6, Member: "b"}).Err())
		if tokens, left, err := s.Holders(ctx, "old", true); err != nil || len(tokens) != 1 || tokens[0] != "b" || !about(left[0], time.Hour) {
			t.Errorf("holders %v, %v, %v", tokens, left, err)
		}
		if h.unlock(slot("a", 0, "old", 2)) {
			t.Error("a slot that has expired was still held")
		}
	})
}

// TestSemaphoreTTL looks at the time to live of the key itself: that of the holder that stays longest.
func TestSemaphoreTTL(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		const none, century = -1 * time.Nanosecond, 36525 * 24 * time.Hour
		for _, step := range []struct {
			name string
			call func() bool
			want time.Duration
		}{
			{"lock", func() bool { return h.lock(slot("a", time.Minute, "sem", 9)) }, time.Minute},
			{"shorter", func() bool { return h.lock(slot("b", time.Second, "sem", 9)) }, time.Minute},
			{"longer", func() bool { return h.lock(slot("c", time.Hour, "sem", 9)) }, time.Hour},
			{"extend shorter", func() bool { return h.extend(slot("c", time.Minute, "sem", 9)) }, time.Hour},
			{"lock shorter", func() bool { return h.lock(slot("c", 2*time.Minute, "sem", 9)) }, 2 * time.Minute},
			{"for ever", func() bool { return h.lock(slot("d", NoExpiry, "sem", 9)) }, none},
			{"beside for ever", func() bool { return h.lock(slot("e", time.Hour, "sem", 9)) }, none},
			{"unlock beside for ever", func() bool { return h.unlock(slot("e", 0, "sem", 9)) }, none},
			{"unlock of for ever", func() bool { return h.unlock(slot("d", 0, "sem", 9)) }, 2 * time.Minute},
			{"extend longer", func() bool { return h.extend(slot("a", 3*time.Minute, "sem", 9)) }, 3 * time.Minute},
			{"extend for ever", func() bool { return h.extend(slot("a", NoExpiry, "sem", 9)) }, none},
			{"extend of for ever", func() bool { return h.extend(slot("a", time.Minute, "sem", 9)) }, none},
			{"over from for ever", func() bool { return h.lockFrom("a")(slot("f", time.Hour, "sem", 9)) }, time.Hour},
			{"long", func() bool { return h.extend(slot("f", century, "sem", 9)) }, century},
		} {
			if !step.call() {
				t.Fatalf("%s fails", step.name)
			}
			if got := rdb.PTTL(ctx, "sem").Val(); got > step.want || got < step.want-10*time.Second {
				t.Errorf("%s: the key lives for %v, want %v", step.name, got, step.want)
			}
		}
	})
}

// TestSemaphoreUnderLoad counts who is inside.
func TestSemaphoreUnderLoad(t *testing.T) {
	s := New(redistest.Start(t).Client(t))
	ctx := within(t, 20*time.Second)
	const slots = 3
	var inside, most atomic.Int64
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for j := range 40 {
				c := slot(fmt.Sprint(i, "-", j), time.Minute, "sem", slots)
				if !taken(ctx, t, s, c) {
					return
				}
				n := inside.Add(1)
				if tokens, _, err := s.Holders(ctx, "sem", true); err != nil || len(tokens) > slots || !slices.Contains(tokens, c.Token) {
					t.Errorf("%s is in, holders %v, %v", c.Token, tokens, err)
				}
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				inside.Add(-1)
				if ok, err := s.Unlock(ctx, c); !ok || err != nil {
					t.Error(ok, err)
				}
			}
		})
	}
	group.Wait()
	if n := most.Load(); n != slots {
		t.Errorf("%d at a time, want %d", n, slots)
	}
}

// taken tries until the claim is taken.
func taken(ctx context.Context, t *testing.T, s *Store, c claim.Claim) bool {
	for {
		_, ok, err := s.Lock(ctx, c, "")
		if err != nil {
			t.Error(err)
		}
		if ok || err != nil {
			return ok
		}
	}
}
