package exclusion_test

import (
	"context"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
)

const (
	ttl    = 300 * time.Millisecond
	size   = 3 // of the semaphores
	prefix = "exclusion:"
)

var usual = []time.Duration{cachify.DefaultOpTimeout}

// How much is done. scripts/locks.sh sets these for the long run.
var (
	holdings = fromEnv("CACHIFY_LOCKS_HOLDINGS", 200) // of locks, and of semaphores
	pauses   = fromEnv("CACHIFY_LOCKS_PAUSES", 5)     // of holders, in each test with pauses
	flushes  = fromEnv("CACHIFY_LOCKS_FLUSHES", 3)
)

func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestMain lets the test binary run as one of the processes of holders.
func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // of connections that break, as they must
	if text := os.Getenv(taskEnv); text != "" {
		runTask(text)
		return
	}
	goleak.VerifyTestMain(m)
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// long says whether so much is done that what is likely must happen.
func long() bool { return holdings >= 10_000 }
