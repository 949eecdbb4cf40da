package redisstore

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

// A glancing is a ctx as the root package gives it, at its worst: whoever waits on what the first Done after Glance gave,
// waits for ever.
type glancing struct {
	context.Context
	mu     sync.Mutex
	glance bool
	looks  int
}

func (g *glancing) Glance() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.glance = true
}

func (g *glancing) Done() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.glance {
		g.glance = false
		g.looks++
		return nil
	}
	return g.Context.Done()
}

// TestWaitsEndAtOnce: go-redis has to ask for Done again before each wait that it does not end by the deadline of ctx.
func TestWaitsEndAtOnce(t *testing.T) {
	var holders sync.WaitGroup
	for _, test := range []struct {
		name string
		rdb  func(t *testing.T) *redis.Client
	}{
		{"for a new connection", func(t *testing.T) *redis.Client {
			return redis.NewClient(&redis.Options{Dialer: func(context.Context, string, string) (net.Conn, error) {
				<-t.Context().Done()
				return nil, t.Context().Err()
			}, DialerRetries: 1})
		}},
		{"for a connection that others have", func(t *testing.T) *redis.Client {
			rdb := redis.NewClient(&redis.Options{Addr: silent(t), PoolSize: 1, PipelinePoolSize: 1, ReadTimeout: time.Minute})
			for range 4 { // pipelines have a pool of their own, and go to the other when that is empty
				holders.Go(func() {
					_, _, _ = New(rdb).Lease(t.Context(), []byte("lease"), time.Second, []string{"k", "l"}, nil, nil)
				})
			}
			waitFor(t, "all connections are taken", func() bool {
				stats := rdb.PoolStats()
				return stats.TotalConns == 1 && stats.IdleConns == 0
			})
			return rdb
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rdb := test.rdb(t)
			t.Cleanup(func() {
				_ = rdb.Close()
				holders.Wait()
			})
			s := New(rdb)
			for _, m := range methods {
				ctx, cancel := context.WithCancel(within(t, time.Minute))
				g := &glancing{Context: ctx}
				done := make(chan error, 1)
				go func() { done <- m.call(g, s) }()
				time.AfterFunc(5*time.Millisecond, cancel)
				select {
				case err := <-done:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("%s: error %v, want %v", m.name, err, context.Canceled)
					}
				case <-time.After(3 * time.Second):
					t.Errorf("%s goes on waiting when its ctx is cancelled", m.name)
				}
			}
		})
	}
}

// TestGlance: where go-redis does not wait, it looks once. Else a hit would cost what Glance saves.
func TestGlance(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	s := New(rdb)
	for _, m := range methods {
		noError(t, m.call(within(t, 5*time.Second), s)) // makes connections
	}
	for _, m := range methods {
		asked := 0
		ctx := &countingCtx{glancing: glancing{Context: within(t, 5*time.Second)}, asked: &asked}
		noError(t, m.call(ctx, s))
		if ctx.looks == 0 || asked != ctx.looks {
			t.Errorf("%s looked %d times and asked %d times for Done", m.name, ctx.looks, asked)
		}
	}
}

type countingCtx struct {
	glancing
	asked *int
}

func (c *countingCtx) Done() <-chan struct{} {
	*c.asked++
	return c.glancing.Done()
}
