package redisstore

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestHolders(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		h := holder{t, s}
		ctx := within(t, 10*time.Second)
		h.lock(locks("a", time.Minute, "lock"))
		h.lock(locks("b", NoExpiry, "for ever"))
		h.lock(slot("c", time.Hour, "sem", 3))
		h.lock(slot("d", time.Minute, "sem", 3))
		h.lock(slot("e", NoExpiry, "sem", 3))
		for _, test := range []struct {
			key       string
			semaphore bool
			tokens    []string
			left      []time.Duration
		}{
			{"free", false, nil, nil},
			{"lock", false, []string{"a"}, []time.Duration{time.Minute}},
			{"for ever", false, []string{"b"}, []time.Duration{NoExpiry}},
			{"free", true, nil, nil},
			{"sem", true, []string{"d", "c", "e"}, []time.Duration{time.Minute, time.Hour, NoExpiry}},
		} {
			tokens, left, err := s.Holders(ctx, test.key, test.semaphore)
			noError(t, err)
			if !slices.Equal(tokens, test.tokens) || !slices.EqualFunc(left, test.left, about) {
				t.Errorf("%s: %v, %v; want %v, %v", test.key, tokens, left, test.tokens, test.left)
			}
		}
	})
}

func about(got, want time.Duration) bool {
	if want == NoExpiry {
		return got == NoExpiry
	}
	return got <= want && got > want-10*time.Second
}

func TestTimeLeft(t *testing.T) {
	for ms, want := range map[int64]time.Duration{
		-1: NoExpiry, 0: 1, 1: time.Millisecond, 60_000: time.Minute,
		9223372036854: 9223372036854 * time.Millisecond, 9223372036855: 1<<63 - 1, 9000000000000000: 1<<63 - 1,
	} {
		if got := timeLeft(ms); got != want {
			t.Errorf("%d ms are %v, want %v", ms, got, want)
		}
	}
}
