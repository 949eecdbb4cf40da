package cachify

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify/internal/redisstore"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestOneFailureOfManyCalls: reads that travelled together and failed together do not open the breaker by their number.
func TestOneFailureOfManyCalls(t *testing.T) {
	c := New(Memory(), &Options{Logger: slog.New(slog.DiscardHandler)})
	defer c.Close()
	boom := errors.New("boom")
	fail := func(again bool) { _ = c.report(t.Context(), &redisstore.ReadError{Err: boom, Again: again}) }
	fail(false)
	for range 100 {
		fail(true)
	}
	if c.breaker.open.Load() {
		t.Error("one failed batch opens the breaker")
	}
	for range breakerThreshold - 1 {
		fail(false)
	}
	if !c.breaker.open.Load() {
		t.Errorf("%d failed batches do not open the breaker", breakerThreshold)
	}
}

// TestNoPipeline switches it off for one client, and leaves the other clients of the store as they are.
func TestNoPipeline(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	store := Redis(rdb)
	off, on, memory := New(store, &Options{NoPipeline: true}), New(store, nil), New(Memory(), &Options{NoPipeline: true})
	if off.store == store || on.store != store || !memory.immediate {
		t.Error("NoPipeline does not reach the store, or reaches that of another client")
	}
	fn := func(context.Context, int) (string, error) { return "v", nil }
	_, err := Must(NewCached(off, "k-<id>", fn, nil)).Get(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if v, ok, err := Must(NewCached(on, "k-<id>", fn, nil)).Peek(t.Context(), 1); v != "v" || !ok || err != nil {
		t.Errorf("the other client finds %q, %t, %v", v, ok, err)
	}
	for _, c := range []*Client{off, on, memory} {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestManyCallersOfAStalledServer: each gets the function's result in time, and they bring no goroutines beside themselves. None is
// left after Close.
func TestManyCallersOfAStalledServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connections stand, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(&redis.Options{Addr: l.Addr().String()})
	before := goleak.IgnoreCurrent()
	c := New(Redis(rdb), &Options{Logger: slog.New(slog.DiscardHandler)})
	var most atomic.Int64
	cached := Must(NewCached(c, "k-<id>", func(context.Context, int) (string, error) {
		most.Store(max(most.Load(), int64(runtime.NumGoroutine())))
		return "v", nil
	}, nil))
	const callers, spare = 10_000, 150
	idle := int64(runtime.NumGoroutine())
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if v, err := cached.Get(ctx, 1); v != "v" || err != nil {
				t.Errorf("Get gives %q, %v", v, err)
			}
		})
	}
	group.Wait()
	if n := most.Load() - idle - callers; n > spare {
		t.Errorf("%d goroutines beside the callers'", n)
	}
	if n := int64(runtime.NumGoroutine()) - idle; n > spare {
		t.Errorf("%d goroutines after the callers have gone", n)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(rdb.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
