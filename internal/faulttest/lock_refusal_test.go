package faulttest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestLockOfAnotherType has a key of another type end the waits for it, for all who wait, and at once for who comes.
func TestLockOfAnotherType(t *testing.T) {
	timely(t, func(t *testing.T, w *stopwatch) {
		server := redistest.Start(t)
		operator := server.Client(t)
		c := newClient(t, server.Client(t))
		lock, sem := newLock(c, &cachify.LockOptions{TTL: 300 * time.Millisecond}), newSemaphore(c, 1, &cachify.LockOptions{TTL: 300 * time.Millisecond})
		many := cachify.Must(cachify.NewLock[int](c, "{many}-<n>", nil))
		keys := map[string]func() (*cachify.Lease, error){
			"fault:lock:lock-{1}":  func() (*cachify.Lease, error) { return lock.Acquire(t.Context(), 1) },
			"fault:sem:sem-{1}":    func() (*cachify.Lease, error) { return sem.Acquire(t.Context(), 1) },
			"fault:lock:{many}-10": func() (*cachify.Lease, error) { return many.AcquireMany(t.Context(), []int{1, 2, 10}) },
		}
		var waits []<-chan acquired
		for key, call := range keys {
			if strings.Contains(key, ":sem:") {
				noError(t, operator.Do(t.Context(), "ZADD", key, "+inf", "another's").Err())
			} else {
				noError(t, operator.Set(t.Context(), key, "another's", 0).Err())
			}
			for range 3 {
				waits = append(waits, acquire(call))
			}
		}
		awaitWaits(t, c, 9)
		pipe := operator.TxPipeline()
		for key := range keys {
			pipe.Del(t.Context(), key)
			pipe.LPush(t.Context(), key, "x")
		}
		_, err := pipe.Exec(t.Context())
		noError(t, err)
		began := time.Now()
		for _, call := range keys {
			waits = append(waits, acquire(call))
		}
		for _, ch := range waits {
			got := <-ch
			if !redis.HasErrorPrefix(got.err, "WRONGTYPE") && (got.err == nil || !strings.Contains(got.err.Error(), "WRONGTYPE")) ||
				errors.Is(got.err, cachify.ErrLocked) || errors.Is(got.err, cachify.ErrFull) {
				t.Errorf("error %v, want one about the key's type", got.err)
			}
			w.check("the end of a wait", got.at.Sub(began), time.Second, time.Duration(w.stall.Load()))
		}
		for _, call := range []func(context.Context, int) (*cachify.Lease, error){lock.TryAcquire, sem.TryAcquire} {
			if _, err := call(t.Context(), 1); err == nil || errors.Is(err, cachify.ErrLocked) || errors.Is(err, cachify.ErrFull) {
				t.Errorf("TryAcquire gave %v, want an error about the key's type", err)
			}
		}
	})
}

// TestLockOutOfMemory has a server that refuses all that takes memory. Locks can be given back; who waits for them is told of the
// server's error if that is still so at the end, and has the lock if it is not.
func TestLockOutOfMemory(t *testing.T) {
	server := redistest.Start(t)
	operator := server.Client(t)
	c := newClient(t, server.Client(t))
	lock, other := newLock(c, nil), newLock(newClient(t, server.Client(t)), nil)
	held, err := lock.TryAcquire(t.Context(), 1)
	noError(t, err)
	waits := acquire(func() (*cachify.Lease, error) { return lock.Acquire(t.Context(), 1) })
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := acquire(func() (*cachify.Lease, error) { return other.Acquire(ctx, 1) })
	awaitWaits(t, c, 1)
	noError(t, operator.ConfigSet(t.Context(), "maxmemory", "1").Err())
	noError(t, held.Release(t.Context()))
	if n := operator.Exists(t.Context(), held.Key()).Val(); n != 0 {
		t.Error("the lock is still there after its release")
	}
	if _, err := lock.TryAcquire(t.Context(), 2); err == nil || errors.Is(err, cachify.ErrLocked) || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("TryAcquire gave %v, want the server's error", err)
	}
	time.Sleep(500 * time.Millisecond)
	cancel()
	if got := <-gaveUp; !errors.Is(got.err, context.Canceled) || errors.Is(got.err, cachify.ErrLocked) || !strings.Contains(got.err.Error(), "OOM") {
		t.Errorf("the wait ended with %v, want the server's error, and the ctx'", got.err)
	}
	if n := c.Stats().Outages; n != 0 {
		t.Errorf("the breaker opened %d times", n)
	}
	noError(t, operator.ConfigSet(t.Context(), "maxmemory", "0").Err())
	back := time.Now()
	got := <-waits
	noError(t, got.err)
	t.Logf("the lock was taken %v after the server had memory again", short(got.at.Sub(back)))
	noError(t, got.lease.Release(t.Context()))
}

// TestLocksOnCluster has locks of all kinds on a Cluster: with any name, fenced, waited for, several at once where they are in one
// slot, and with a clear error where they are not.
func TestLocksOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, prefix := range []string{"", "app:", "{app}:", "a b:", "a{b:", "{", "a}b{c}"} {
		mine, theirs := cachify.New(cachify.Redis(cluster.Client(t)), &cachify.Options{Prefix: prefix, OpTimeout: resumed}),
			cachify.New(cachify.Redis(cluster.Client(t)), &cachify.Options{Prefix: prefix, OpTimeout: resumed})
		for _, template := range []string{"lock-<n>", "lock {<n>}", "{lock}-<n>", "}<n>{", "{}<n>", "{<n>", "a{}{<n>}"} {
			t.Run(fmt.Sprintf("%q", prefix+template), func(t *testing.T) {
				lock := cachify.Must(cachify.NewLock[int](mine, template, &cachify.LockOptions{Fenced: true}))
				other := cachify.Must(cachify.NewLock[int](theirs, template, nil))
				onCluster(t, lock, other)
			})
		}
		noError(t, mine.Close())
		noError(t, theirs.Close())
	}
	c := newClient(t, cluster.Client(t))
	apart := cachify.Must(cachify.NewLock[int](c, "lock-<n>", nil))
	began := time.Now()
	lease, err := apart.AcquireMany(t.Context(), []int{1, 2, 3})
	if err == nil || lease != nil || errors.Is(err, cachify.ErrLocked) || !strings.Contains(err.Error(), "slot") || !strings.Contains(err.Error(), "hash tag") {
		t.Errorf("locks of different slots gave %v, want an error that says so", err)
	}
	if took := time.Since(began); took > resumed {
		t.Errorf("that took %v", took)
	}
	t.Logf("locks of different slots: %v", err)
	for n := 1; n <= 3; n++ {
		if is, err := apart.IsLocked(t.Context(), n); is || err != nil {
			t.Errorf("lock %d is held: %v, %v", n, is, err)
		}
	}
	together := cachify.Must(cachify.NewLock[int](c, "{lock}-<n>", &cachify.LockOptions{Fenced: true}))
	for range 3 {
		lease, err := together.AcquireMany(t.Context(), []int{1, 2, 3})
		noError(t, err)
		_, err = lease.TTL(t.Context())
		noError(t, err)
		noError(t, lease.Extend(t.Context(), time.Hour))
		if _, err := together.TryAcquire(t.Context(), 2); !errors.Is(err, cachify.ErrLocked) {
			t.Errorf("one of the locks: %v, want %v", err, cachify.ErrLocked)
		}
		noError(t, lease.Release(t.Context()))
	}
}

func onCluster(t *testing.T, lock, other *cachify.Lock[int]) {
	ctx := t.Context()
	var last int64
	for range 2 {
		for _, l := range []*cachify.Lock[int]{lock, other} {
			lease, err := l.Acquire(ctx, 1)
			noError(t, err)
			fence, err := lease.Fence(ctx)
			noError(t, err)
			if fence <= last {
				t.Errorf("fencing token %d after %d", fence, last)
			}
			last = fence
			waits := acquire(func() (*cachify.Lease, error) { return other.Acquire(ctx, 1) })
			time.Sleep(5 * time.Millisecond)
			noError(t, lease.Extend(ctx, time.Minute))
			noError(t, lease.Release(ctx))
			got := <-waits
			noError(t, got.err)
			if fence, err = got.lease.Fence(ctx); err != nil || fence <= last {
				t.Errorf("fencing token %d, %v, after %d", fence, err, last)
			}
			last = fence
			noError(t, lock.Release(ctx, 1))
			select {
			case <-got.lease.Context().Done():
			case <-time.After(resumed):
				t.Error("the holder does not hear that its lock was released by force")
			}
		}
	}
}
