package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

func TestFence(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		h := holder{t, s}
		ctx := within(t, 10*time.Second)
		last := time.Now().Add(-time.Minute).UnixMicro()
		next := func(c func(token string) int64, token string) {
			t.Helper()
			n := c(token)
			if n <= last {
				t.Errorf("%s has fencing token %d, which is not greater than %d", token, n, last)
			}
			last = n
		}
		fence := func(keys ...string) func(token string) int64 {
			return func(token string) int64 {
				t.Helper()
				c := fenced(locks(token, time.Minute, keys...))
				n, ok, err := s.Lock(ctx, c, "")
				noError(t, err)
				if !ok || n == 0 {
					t.Fatalf("%v is locked, %d", keys, n)
				}
				if again, ok := h.fence(c); !ok || again != n {
					t.Errorf("fencing token %d is %d when asked again, %t", n, again, ok)
				}
				if again, ok, err := s.Lock(ctx, c, ""); !ok || again != n || err != nil {
					t.Errorf("fencing token %d is %d when locked again, %t, %v", n, again, ok, err)
				}
				if !h.unlock(c) {
					t.Error("lost")
				}
				if n, ok := h.fence(c); ok || n != 0 {
					t.Errorf("after Unlock there is a fencing token %d", n)
				}
				return n
			}
		}
		for i := range 5 {
			next(fence("{l}a"), fmt.Sprint("one", i))
			next(fence("{l}a", "{l}b", "{l}c"), fmt.Sprint("many", i))
			next(fence("{l}b"), fmt.Sprint("another", i))
		}
		if now := time.Now().UnixMicro(); last > now+60e6 {
			t.Errorf("fencing token %d is far from the clock at %d", last, now)
		}
		noError(t, rdb.FlushAll(ctx).Err())
		next(fence("{l}a"), "after FLUSHALL")
		if ttl := rdb.PTTL(ctx, "{l}a:fence").Val(); ttl > fenceTTL || ttl < fenceTTL-time.Minute {
			t.Errorf("it is remembered for %v", ttl)
		}

		// Another's lock: no number, and no trace.
		c := fenced(locks("holder", time.Minute, "{l}a", "{l}b"))
		want, _, err := s.Lock(ctx, c, "")
		noError(t, err)
		for _, keys := range [][]string{{"{l}a"}, {"{l}b"}, {"{l}c"}, {"{l}a", "{l}c"}} {
			c := fenced(locks("other", time.Minute, keys...))
			if n, ok := h.fence(c); ok || n != 0 {
				t.Errorf("who does not hold %v gets fencing token %d", keys, n)
			}
			if n, ok, err := s.Lock(ctx, c, "holder"); ok != (len(keys) == 1 && keys[0] != "{l}c") || err != nil || (n != 0) != ok {
				t.Errorf("Lock of %v from the holder: %d, %t, %v", keys, n, ok, err)
			} else if ok && n <= want {
				t.Errorf("fencing token %d for %v follows %d", n, keys, want)
			}
		}
		if n, ok, err := s.Lock(ctx, fenced(locks("third", time.Minute, "{l}a")), ""); n != 0 || ok || err != nil {
			t.Errorf("a refused Lock gives %d, %t, %v", n, ok, err)
		}
	})
}

// TestFenceNumbers: the last number is what a greater one is found to, whatever floating point makes of it.
func TestFenceNumbers(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		c := fenced(locks("me", time.Minute, "{l}a", "{l}b"))
		h.lock(c)
		for _, test := range []struct {
			a, b string
			want int64 // 0: the clock
		}{
			{"9007199254740989 other", "9007199254740988 other", 9007199254740990},
			{"9007199254740990 other", "", 9007199254740991},
			{"", "9007199254740989 an other\nwith more", 9007199254740990},
			{"9007199254740989 me", "9007199254740989 me", 9007199254740989},
			{"9007199254740991 me", "", 9007199254740991},                       // the other was lost
			{"9007199254740980 me", "9007199254740985 other", 9007199254740986}, // can't be the same any more
			{"9007199254740980 me", "9007199254740980 other", 9007199254740981},
			{"7 me", "7 me", 7},
			{"7 other", "8 other", 0},
			{"9007199254740991 other", "", 0}, // nothing is greater
			{"9007199254740992 other", "", 0},
			{"9007199254740993 me", "", 0},
			{"99999999999999999999 other", "", 0},
			{"9007199254740989", "", 0},
			{"9007199254740989 ", "09007199254740989 other", 0},
			{"9007199254740989\tother", "-9007199254740989 other", 0},
			{"other", "9e15 other", 0},
		} {
			for i, text := range []string{test.a, test.b} {
				noError(t, rdb.Set(ctx, c.Fences[i], text, 0).Err())
				if text == "" {
					noError(t, rdb.Del(ctx, c.Fences[i]).Err())
				}
			}
			n, ok := h.fence(c)
			if now := time.Now().UnixMicro(); !ok || test.want != 0 && n != test.want || test.want == 0 && (n < now-60e6 || n > now+60e6) {
				t.Errorf("after %q and %q comes %d, %t; want %d", test.a, test.b, n, ok, test.want)
			}
			for _, key := range c.Fences {
				if got, want := rdb.Get(ctx, key).Val(), fmt.Sprint(n, " me"); got != want {
					t.Errorf("%q is kept, want %q", got, want)
				}
			}
		}
		for _, key := range c.Fences { // of another type: overwritten
			noError(t, rdb.Del(ctx, key).Err())
			noError(t, rdb.HSet(ctx, key, "f", "v").Err())
		}
		if n, ok := h.fence(c); !ok || n < time.Now().Add(-time.Minute).UnixMicro() {
			t.Errorf("over a hash: %d, %t", n, ok)
		}
	})
}

// TestFenceOfALockThatIsLost: a Lock that was taken and then has no fencing token is an error, neither "locked" nor a lock
// without one.
func TestFenceOfALockThatIsLost(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	ctx := within(t, 5*time.Second)
	rdb.AddHook(thief{server.Client(t)})
	s := New(rdb)
	holder{t, s}.lock(locks("token", time.Minute, "other")) // the server knows this script, and not the other
	_, ok, err := s.Lock(ctx, fenced(locks("token", time.Minute, "lock")), "")
	if ok || err == nil || !strings.Contains(err.Error(), "lost before its fencing token") {
		t.Errorf("%t, %v", ok, err)
	}
}

// A thief removes a lock after each round trip.
type thief struct{ rdb *redis.Client }

func (thief) DialHook(next redis.DialHook) redis.DialHook { return next }

func (thief) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (h thief) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return errors.Join(next(ctx, cmds), h.rdb.Del(ctx, "lock").Err())
	}
}
