package faulttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// wrappers are one of each kind over one client of their own.
type wrappers struct {
	client *cachify.Client
	cached *cachify.Cached[int64, int64]
	batch  *cachify.Cached[int64, int64]
	once   *cachify.Once[int64, int64]
}

var errRan = errors.New("the function of Once ran")

func newWrappers(t testing.TB, server *redistest.Server) *wrappers {
	c := newClient(t, server.Client(t))
	load := func(_ context.Context, key int64) (int64, error) {
		time.Sleep(loaderTime)
		return key, nil
	}
	cached := cachify.Must(cachify.NewCached(c, "first-<key>", load, nil))
	return &wrappers{
		client: c,
		cached: cached,
		batch: cached.Batch(func(_ context.Context, keys []int64) ([]int64, error) {
			time.Sleep(loaderTime)
			return keys, nil
		}),
		once: cachify.Must(cachify.NewOnce(c, "first-<key>", func(context.Context, int64) (int64, error) { return 0, errRan }, nil)),
	}
}

func values(keys []int64, err error) error {
	for i, key := range keys {
		if err == nil && key != int64(i) {
			err = errors.New("wrong values")
		}
	}
	return err
}

// failOpen are the methods that work without the server, failClosed those that then return an error.
var (
	failOpen = map[string]func(context.Context, *wrappers) error{
		"Get of a value": func(ctx context.Context, w *wrappers) error {
			_, err := w.cached.Get(ctx, 0)
			return err
		},
		"Get of nothing": func(ctx context.Context, w *wrappers) error {
			_, err := w.cached.Get(ctx, 1)
			return err
		},
		"Refresh": func(ctx context.Context, w *wrappers) error {
			_, err := w.cached.Refresh(ctx, 0)
			return err
		},
		"GetMany": func(ctx context.Context, w *wrappers) error {
			return values(w.cached.GetMany(ctx, []int64{0, 1, 2}))
		},
		"GetMany of one": func(ctx context.Context, w *wrappers) error {
			return values(w.cached.GetMany(ctx, []int64{0}))
		},
		"GetMany with a batch": func(ctx context.Context, w *wrappers) error {
			return values(w.batch.GetMany(ctx, []int64{0, 1, 2}))
		},
	}
	failClosed = map[string]func(context.Context, *wrappers) error{
		"Reset":     func(ctx context.Context, w *wrappers) error { return w.cached.Reset(ctx, 0) },
		"ResetAll":  func(ctx context.Context, w *wrappers) error { return w.cached.ResetAll(ctx) },
		"ResetTags": func(ctx context.Context, w *wrappers) error { return w.client.ResetTags(ctx, "tag") },
		"Put":       func(ctx context.Context, w *wrappers) error { return w.cached.Put(ctx, 0, 0) },
		"Peek": func(ctx context.Context, w *wrappers) error {
			_, _, err := w.cached.Peek(ctx, 0)
			return err
		},
		"Do": func(ctx context.Context, w *wrappers) error {
			_, err := w.once.Do(ctx, 0)
			return err
		},
		"IsLocked": func(ctx context.Context, w *wrappers) error {
			_, err := w.once.IsLocked(ctx, 0)
			return err
		},
		"Release": func(ctx context.Context, w *wrappers) error { return w.once.Release(ctx, 0) },
	}
)

// warm gives wrappers for each of calls, with a connection each and a value for key 0.
func warm(t testing.TB, server *redistest.Server, calls map[string]func(context.Context, *wrappers) error) map[string]*wrappers {
	all := make(map[string]*wrappers)
	for name := range calls {
		all[name] = newWrappers(t, server)
		_, err := all[name].cached.Get(t.Context(), 0)
		noError(t, err)
	}
	return all
}

// TestFirstCall makes the call that meets an outage first, when no breaker is open yet. It pays the operation timeout
// once, not once for each of its steps.
func TestFirstCall(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end func(*redistest.Server)
	}{
		{"SIGKILL", (*redistest.Server).Kill, (*redistest.Server).Restart},
		{"SIGSTOP", (*redistest.Server).Stop, (*redistest.Server).Cont},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				open, closed := warm(t, server, failOpen), warm(t, server, failClosed)
				test.begin(server)
				defer test.end(server)
				var calls sync.WaitGroup
				for name, on := range open {
					calls.Go(func() {
						took := w.time(name, loaderTime+opTimeout, func() {
							if err := failOpen[name](t.Context(), on); err != nil {
								t.Errorf("%s: %v", name, err)
							}
						})
						t.Logf("%s: no error, %v", name, took)
					})
				}
				for name, on := range closed {
					calls.Go(func() {
						took := w.time(name, opTimeout, func() {
							if err := failClosed[name](t.Context(), on); err == nil || errors.Is(err, errRan) || errors.Is(err, cachify.ErrLocked) {
								t.Errorf("%s: error %v, want the server's", name, err)
							}
						})
						t.Logf("%s: the server's error, %v", name, took)
					})
				}
				calls.Wait()
			})
		})
	}
}
