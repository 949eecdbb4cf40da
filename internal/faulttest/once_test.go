package faulttest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestOnceInOutage has Once fail closed, and work again afterwards: what the server makes of the request for a lock when the
// caller has long given up must not keep others out.
func TestOnceInOutage(t *testing.T) { timely(t, onceInOutage) }

func onceInOutage(t *testing.T, w *stopwatch) {
	const keys = 20
	server := redistest.Start(t)
	var ran atomic.Int64
	once := cachify.Must(cachify.NewOnce(newClient(t, server.Client(t)), "once-<key>", func(context.Context, int) (string, error) {
		ran.Add(1)
		return "ran", nil
	}, nil)).ReturnOnLocked("locked")
	works := func(key int) bool {
		v, err := once.Do(t.Context(), key)
		return err == nil && v == "ran"
	}
	together(keys, func(key int) {
		if !works(key) {
			t.Errorf("Do of %d did not run", key)
		}
	})
	server.Stop()
	took := w.time("Do", opTimeout, func() {
		together(keys, func(key int) {
			if v, err := once.Do(t.Context(), key); err == nil || v != "" || errors.Is(err, cachify.ErrLocked) {
				t.Errorf("Do of %d in an outage gave %q, %v; want the server's error", key, v, err)
			}
		})
	})
	if ran.Load() != keys {
		t.Error("the function ran without its lock")
	}
	server.Cont()
	back := eventually(t, resumed, "Do runs the function for all keys", func() bool {
		all := true
		for key := range keys {
			all = works(key) && all
		}
		return all
	})
	t.Logf("%d calls failed in %v without a run, and worked again %v after the end", keys, took, back)
}

// TestLateLock has the request for a lock reach the server long after the caller has given up, when the server has answered
// later requests already. Nobody has the lock then, so it must not keep others out.
func TestLateLock(t *testing.T) {
	store := &lateStore{Store: cachify.Redis(redistest.Start(t).Client(t)), unlocks: make(chan struct{}, 1000)}
	c := cachify.New(store, nil)
	t.Cleanup(func() { noError(t, c.Close()) })
	once := cachify.Must(cachify.NewOnce(c, "once", func(context.Context, struct{}) (bool, error) { return true, nil }, nil))
	if _, err := once.Do(t.Context(), struct{}{}); !errors.Is(err, errLate) {
		t.Fatalf("Do gave %v, want %v", err, errLate)
	}
	select {
	case <-store.unlocks: // and there was nothing to unlock
	case <-time.After(resumed):
		t.Fatal("the lock that may have been taken is not given back")
	}
	noError(t, store.arrive(t.Context()))
	works := eventually(t, resumed, "Do runs the function", func() bool {
		ran, err := once.Do(t.Context(), struct{}{})
		return err == nil && ran
	})
	t.Logf("Do worked again %v after a late request had taken the lock", works)
}

var errLate = errors.New("no answer in time")

// A lateStore holds its first request for a lock back.
type lateStore struct {
	cachify.Store
	arrive  func(context.Context) error
	unlocks chan struct{}
}

func (s *lateStore) Lock(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
	if s.arrive != nil {
		return s.Store.Lock(ctx, c, from)
	}
	s.arrive = func(ctx context.Context) error {
		_, _, err := s.Store.Lock(ctx, c, from)
		return err
	}
	return 0, false, errLate
}

func (s *lateStore) Unlock(ctx context.Context, c cachify.Claim) (bool, error) {
	ok, err := s.Store.Unlock(ctx, c)
	s.unlocks <- struct{}{}
	return ok, err
}

// TestLockLostInOutage stops the server under a function that runs with a lock: its ctx ends before the lock can have.
func TestLockLostInOutage(t *testing.T) { timely(t, lockLostInOutage) }

func lockLostInOutage(t *testing.T, w *stopwatch) {
	const ttl = time.Second
	server := redistest.Start(t)
	var took time.Duration
	once := cachify.Must(cachify.NewOnce(newClient(t, server.Client(t)), "once", func(ctx context.Context, _ struct{}) (bool, error) {
		server.Stop() // no renewal after this moment
		took = w.time("until the loss of the lock", ttl-allowance(0), func() { <-ctx.Done() })
		return errors.Is(context.Cause(ctx), cachify.ErrLockLost), nil
	}, &cachify.OnceOptions{TTL: ttl}))
	told, err := once.Do(t.Context(), struct{}{})
	server.Cont()
	if !told || !errors.Is(err, cachify.ErrLockLost) {
		t.Errorf("the function was told %t, Do gave %v; want %v both times", told, err, cachify.ErrLockLost)
	}
	t.Logf("with a TTL of %v the function was told %v after the server had stopped", ttl, took)
}
