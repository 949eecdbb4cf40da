package redistest

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestMini(t *testing.T) {
	rdb, m := Mini(t)
	ctx := t.Context()
	for key, ttl := range map[string]time.Duration{"short": 50 * time.Millisecond, "long": time.Hour} {
		if err := rdb.Set(ctx, key, "v", ttl).Err(); err != nil {
			t.Fatal(err)
		}
	}
	script := redis.NewScript("return redis.call('EXISTS', KEYS[1])")
	start := time.Now()
	for {
		n, err := script.Run(ctx, rdb, []string{"short"}).Int()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("the key does not expire")
		}
	}
	if d := time.Since(start); d < 40*time.Millisecond {
		t.Errorf("expired after %v already", d)
	}
	if ttl, err := rdb.PTTL(ctx, "long").Result(); ttl > time.Hour-40*time.Millisecond || ttl < 59*time.Minute || err != nil {
		t.Errorf("time to live of the other key: %v, %v", ttl, err)
	}
	m.FastForward(time.Hour)
	if err := rdb.Get(ctx, "long").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("after FastForward: %v", err)
	}
}
