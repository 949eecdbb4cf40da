package faulttest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// patience is that of callers here. It is too short for cachify to leave a part of it to the function.
const patience = opTimeout / 6

// all are the methods that do I/O.
func all() map[string]func(context.Context, *wrappers) error {
	calls := maps.Clone(failOpen)
	maps.Copy(calls, failClosed)
	return calls
}

// TestCtxOnSilentServer holds each method to its ctx while the server does not answer.
func TestCtxOnSilentServer(t *testing.T) {
	for _, test := range []struct {
		name string
		ctx  func(context.Context) (context.Context, context.CancelFunc)
		took time.Duration
		err  error
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, patience)
		}, patience, context.DeadlineExceeded},
		{"cancelled before", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, 0, context.Canceled},
		{"cancelled meanwhile", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(patience, cancel)
			return ctx, cancel
		}, opTimeout, context.Canceled}, // what is on its way to the server has no other deadline
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				warmed := warm(t, server, all())
				server.Stop()
				defer server.Cont()
				var calls sync.WaitGroup
				var slowest atomic.Int64
				for name, call := range all() {
					calls.Go(func() {
						ctx, cancel := test.ctx(t.Context())
						defer cancel()
						took := w.time(name, test.took, func() {
							if err := call(ctx, warmed[name]); !errors.Is(err, test.err) {
								t.Errorf("%s: error %v, want %v", name, err, test.err)
							}
						})
						raise(&slowest, int64(took))
					})
				}
				calls.Wait()
				t.Logf("%d methods, the slowest took %v", len(warmed), time.Duration(slowest.Load()))
			})
		})
	}
}

// TestCtxWhileWaiting ends a caller's ctx while it waits for the load of another process, and while its own load runs.
func TestCtxWhileWaiting(t *testing.T) { timely(t, ctxWhileWaiting) }

func ctxWhileWaiting(t *testing.T, w *stopwatch) {
	server := redistest.Start(t)
	hold := make(chan struct{})
	loading := make(chan struct{}, 2)
	load := func(ctx context.Context, _ int64) (string, error) {
		loading <- struct{}{}
		select {
		case <-hold:
			return "loaded", nil
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	mine := cachify.Must(cachify.NewCached(newClient(t, server.Client(t)), "slow-<key>", load, nil))
	other := cachify.Must(cachify.NewCached(newClient(t, server.Client(t)), "slow-<key>", load, nil))

	type answer struct {
		v   string
		err error
	}
	loaded := make(chan answer, 1)
	go func() {
		v, err := other.Get(context.Background(), 1)
		loaded <- answer{v, err}
	}()
	<-loading
	for what, key := range map[string]int64{"a wait for another process": 1, "a load of one's own": 2} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		took := w.time(what, patience, func() {
			if _, err := mine.Get(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: error %v, want %v", what, err, context.DeadlineExceeded)
			}
		})
		cancel()
		t.Logf("%s with a deadline of %v took %v", what, patience, took)
	}
	close(hold)
	if a := <-loaded; a.err != nil || a.v != "loaded" {
		t.Errorf("the other process got %q, %v, want its load's result", a.v, a.err)
	}
}
