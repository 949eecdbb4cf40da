package cachify_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestGetAfterCloseRunsTheFunction(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := cachify.New(store, nil)
		calls := 0
		f := newCached(c, func(context.Context, int) (int, error) { calls++; return calls, nil }, nil)
		batched := f.Batch(func(_ context.Context, args []int) ([]int, error) {
			calls++
			return make([]int, len(args)), nil
		})
		_, err := f.Get(ctx, 1)
		noError(t, err)
		noError(t, c.Close())
		noError(t, c.Close())

		calls = 1
		for name, call := range map[string]func() error{
			"Get of what was stored": func() error { _, err := f.Get(ctx, 1); return err },
			"Get of something new":   func() error { _, err := f.Get(ctx, 2); return err },
			"Refresh":                func() error { _, err := f.Refresh(ctx, 1); return err },
			"GetMany":                func() error { _, err := f.GetMany(ctx, []int{1}); return err },
			"GetMany with Batch":     func() error { _, err := batched.GetMany(ctx, []int{1, 2, 3}); return err },
		} {
			before := calls
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if calls != before+1 {
				t.Errorf("%s: the function ran %d times, want once", name, calls-before)
			}
		}
	})
}

func TestEverythingElseAfterCloseIsErrClosed(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := cachify.New(store, nil)
		f := newCached(c, square, nil)
		once := cachify.Must(cachify.NewOnce(c, "f-<n>", func(context.Context, int) (int, error) {
			t.Error("Once ran its function on a closed client")
			return 0, nil
		}, nil))
		noError(t, c.Close())
		for name, call := range map[string]func() error{
			"Put":       func() error { return f.Put(ctx, 1, 1) },
			"Peek":      func() error { _, _, err := f.Peek(ctx, 1); return err },
			"Reset":     func() error { return f.Reset(ctx, 1) },
			"ResetAll":  func() error { return f.ResetAll(ctx) },
			"ResetTags": func() error { return c.ResetTags(ctx, "tag") },
			"Do":        func() error { _, err := once.Do(ctx, 1); return err },
			"Do with a value to return": func() error {
				_, err := once.ReturnOnLocked(1).Do(ctx, 1)
				return err
			},
			"IsLocked": func() error { _, err := once.IsLocked(ctx, 1); return err },
			"Release":  func() error { return once.Release(ctx, 1) },
		} {
			if err := call(); !errors.Is(err, cachify.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	})
}

// The bubble of synctest does not end before its goroutines have: so Close has ended all of them.
func TestCloseEndsLoadsAndBackgroundWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c, other := cachify.New(store, nil), newClient(t, store, nil)
		block := func(ctx context.Context, _ int) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}
		f, g := newCached(c, block, nil), newCached(other, block, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		theirs := async(func() (string, error) { return g.Get(ctx, 1) })
		synctest.Wait()
		waits := async(func() (string, error) { return f.Get(ctx, 1) })
		loads := async(func() (string, error) { return f.Get(ctx, 2) })
		time.Sleep(10 * time.Second) // leases are renewed meanwhile
		store.set(failing)
		for range 3 { // opens the breaker, which starts its probe, and leaves a reset to the background
			if err := f.Reset(ctx, 3); err == nil {
				t.Error("Reset: no error in an outage")
			}
		}
		if s := c.Stats(); !s.BreakerOpen || s.PendingReset != 1 {
			t.Errorf("%+v: the breaker should be open, and a reset pending", s)
		}
		store.set(nil)

		noError(t, c.Close())
		wantError(t, (<-loads).err, cachify.ErrClosed)
		ended := errors.New("the callers' ctx has ended")
		cancel(ended)
		for _, call := range []<-chan result[string]{waits, theirs} {
			if err := (<-call).err; !errors.Is(err, ended) && !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the ctx", err)
			}
		}
	})
}

func TestCloseLeavesNoGoroutineOnRedis(t *testing.T) {
	before := goleak.IgnoreCurrent()
	rdb, m := redistest.Mini(t)
	p := newPuppet(t)
	c, other := cachify.New(cachify.Redis(rdb), nil), cachify.New(cachify.Redis(rdb), nil)
	f, g := newCached(c, p.fn, nil), newCached(other, p.fn, nil)
	ctx := t.Context()
	leader := async(func() (string, error) { return f.Get(ctx, 1) })
	r := p.next(t)
	waiter := async(func() (string, error) { return g.Get(ctx, 1) }) // opens a connection for notifications
	eventually(t, "the waiter waits", func() bool { return other.Stats().Waits == 1 })
	r.returns("v")
	gives(t, leader, "v")
	gives(t, waiter, "v")
	noError(t, c.Close())
	noError(t, other.Close())
	noError(t, rdb.Close())
	m.Close()
	goleak.VerifyNone(t, before)
}

func TestCloseDoesNotWaitForEverForFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cachify.New(cachify.Memory(), nil)
		p := newPuppet(t)
		f := newCached(c, p.fn, nil)
		leader := async(func() (string, error) { return f.Get(t.Context(), 1) })
		r := p.next(t)
		start := time.Now()
		wantMessage(t, c.Close(), "has not yet returned")
		equal(t, "Close took", time.Since(start), 5*time.Second)
		r.returns("late")
		gives(t, leader, "late")
	})
}
