// Package faulttest holds cachify to its promises on real servers that are killed, stopped, cut off, filled up and
// failed over in the middle of traffic. Each test prints its figures in one line.
package faulttest

import (
	"context"
	"io"
	"log"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

const (
	opTimeout  = cachify.DefaultOpTimeout
	loaderTime = time.Millisecond
	resumed    = 5 * time.Second // what "within seconds" means here
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // servers go down here all the time, which go-redis logs at length
	log.SetOutput(io.Discard)
	if mode := os.Getenv(childEnv); mode != "" {
		children[mode](os.Getenv(addrEnv))
		return
	}
	os.Exit(m.Run())
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// newClient gives a client with the defaults that are under test, closed before the Redis client that it uses.
func newClient(t testing.TB, rdb redis.UniversalClient) *cachify.Client {
	c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "fault:", Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { _ = c.Close() }) // resets that no server could take are an error here, and may be
	return c
}

// eventually waits until condition holds and gives the time that took. Nothing tells of what it is used for.
func eventually(t testing.TB, limit time.Duration, what string, condition func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		if time.Since(began) > limit {
			t.Fatalf("%s: not within %v", what, limit)
		}
		<-tick.C
	}
	return time.Since(began).Round(time.Millisecond)
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
