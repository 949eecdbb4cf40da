package redistest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestSentinel(t *testing.T) {
	t.Parallel()
	start := time.Now()
	s := StartSentinel(t)
	t.Logf("up after %v", time.Since(start).Round(time.Millisecond))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	rdb := s.Client(t, func(o *redis.FailoverOptions) { o.MaxRetries = 10 })
	master := s.Nodes[0]
	for range 2 { // there and back
		if now, err := s.Master(ctx); now != master || err != nil {
			t.Fatalf("master %v, %v", now, err)
		}
		if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		start = time.Now()
		if err := s.Failover(ctx); err != nil {
			t.Fatal(err)
		}
		t.Logf("failover after %v", time.Since(start).Round(time.Millisecond))
		now, err := s.Master(ctx)
		if now == master || err != nil {
			t.Fatalf("after the failover: %v, %v", now, err)
		}
		master = now
		if err := master.Client(t).Set(ctx, "k", "new", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := await(ctx, func() error { return reads(ctx, rdb, "new") }); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSentinelReplacesADeadMaster(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s.Nodes[0].Kill()
	if err := s.Failover(ctx); err != nil {
		t.Fatal(err)
	}
	if now, err := s.Master(ctx); now != s.Nodes[1] || err != nil {
		t.Fatalf("%v, %v", now, err)
	}
	if err := s.Nodes[1].Client(t).Set(ctx, "k", "v", 0).Err(); err != nil {
		t.Error(err)
	}
}

func reads(ctx context.Context, rdb *redis.Client, want string) error {
	got, err := rdb.Get(ctx, "k").Result()
	if err == nil && got != want {
		err = fmt.Errorf("reads %q, want %q", got, want)
	}
	return err
}

func TestSentinelHeldUp(t *testing.T) {
	t.Parallel()
	s := StartSentinel(t)
	s.Server.Stop()
	time.Sleep(2500 * time.Millisecond) // enough for TILT
	s.Server.Cont()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Failover(ctx); err != nil {
		t.Fatal(err)
	}
}
