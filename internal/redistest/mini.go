package redistest

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Mini starts a miniredis whose keys expire with the clock, which they don't by default, and a client with
// go-redis' defaults. Both end with the test.
func Mini(t testing.TB, opts ...func(*redis.Options)) (*redis.Client, *miniredis.Miniredis) {
	m := miniredis.RunT(t)
	m.ClockTTL(true)
	return NewClient(t, m.Addr(), opts...), m
}
