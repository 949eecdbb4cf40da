package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func newLock(c *cachify.Client, opts *cachify.LockOptions) *cachify.Lock[int] {
	return cachify.Must(cachify.NewLock[int](c, "job-<n>", opts))
}

// acquire acquires the lock for the key that these tests share.
func acquire(ctx context.Context, l *cachify.Lock[int]) <-chan result[*cachify.Lease] {
	return async(func() (*cachify.Lease, error) { return l.Acquire(ctx, 1) })
}

// leased gives the lease of an async acquisition.
func leased(t testing.TB, ch <-chan result[*cachify.Lease]) *cachify.Lease {
	t.Helper()
	r := receive(t, "the lease", ch)
	noError(t, r.err)
	equal(t, "the lease is valid", r.value.Valid(), true)
	noError(t, r.value.Context().Err())
	return r.value
}

func try(t testing.TB, l *cachify.Lock[int]) *cachify.Lease {
	t.Helper()
	lease, err := l.TryAcquire(t.Context(), 1)
	noError(t, err)
	return lease
}

// A rig is a Lock in a bubble of fake time, over a store that can be made to fail.
type rig struct {
	store  *faultyStore
	client *cachify.Client
	lock   *cachify.Lock[int]
	key    string
}

func inRig(t *testing.T, opts cachify.LockOptions, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{store: &faultyStore{Store: cachify.Memory()}}
		r.client = newClient(t, r.store, &cachify.Options{OpTimeout: lockTTL / 10})
		if opts.TTL == 0 {
			opts.TTL = lockTTL
		}
		r.lock = newLock(r.client, &opts)
		r.key = cachify.Must(r.lock.Key(1))
		test(t, r)
	})
}

// held looks into the store, whatever is between it and the client.
func (r *rig) held(t testing.TB) bool {
	t.Helper()
	tokens, _, err := r.store.Store.Holders(context.WithoutCancel(t.Context()), r.key, false)
	noError(t, err)
	return len(tokens) > 0
}

// other gives the lock as another process has it, over the store as it is without faults.
func (r *rig) other(t testing.TB, opts cachify.LockOptions) *cachify.Lock[int] {
	if opts.TTL == 0 {
		opts.TTL = lockTTL
	}
	return newLock(newClient(t, r.store.Store, nil), &opts)
}

func TestNewLockErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	tests := []struct {
		name, template string
		opts           cachify.LockOptions
		want           string
	}{
		{"empty template", "", cachify.LockOptions{}, "empty"},
		{"no placeholder", "f", cachify.LockOptions{}, "never mentions"},
		{"negative TTL", "f-<n>", cachify.LockOptions{TTL: -time.Second}, "LockOptions.TTL"},
		{"tiny TTL", "f-<n>", cachify.LockOptions{TTL: time.Millisecond - 1}, "LockOptions.TTL"},
		{"negative wait", "f-<n>", cachify.LockOptions{Wait: -1}, "LockOptions.Wait"},
		{"negative MaxHold", "f-<n>", cachify.LockOptions{MaxHold: -1}, "LockOptions.MaxHold"},
		{"MaxHold below the TTL", "f-<n>", cachify.LockOptions{TTL: time.Minute, MaxHold: time.Minute - 1}, "LockOptions.MaxHold"},
		{"MaxHold below the default TTL", "f-<n>", cachify.LockOptions{MaxHold: cachify.DefaultLockTTL - 1}, "LockOptions.MaxHold"},
		{"MaxHold without renewal", "f-<n>", cachify.LockOptions{MaxHold: time.Hour, NoRenew: true}, "NoRenew"},
		{"MaxHold without expiry", "f-<n>", cachify.LockOptions{MaxHold: time.Hour, TTL: cachify.NoExpiry}, "NoExpiry"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			lock, err := cachify.NewLock[int](c, test.template, &test.opts)
			wantMessage(t, err, test.want)
			sem, err := cachify.NewSemaphore[int](c, test.template, 1, &test.opts)
			wantMessage(t, err, test.want)
			if lock != nil || sem != nil {
				t.Error("something came with the error")
			}
		})
	}
	t.Run("client", func(t *testing.T) {
		_, err := cachify.NewLock[int](nil, "f-<n>", nil)
		wantMessage(t, err, "the client is nil")
		_, err = cachify.NewLock[int](cachify.New(nil, nil), "f-<n>", nil)
		wantMessage(t, err, "the store is nil")
		_, err = cachify.NewLock[int](newClient(t, cachify.Memory(), &cachify.Options{LockTTL: cachify.NoExpiry}), "f-<n>", &cachify.LockOptions{MaxHold: time.Hour})
		wantMessage(t, err, "NoExpiry")
	})
	t.Run("template", func(t *testing.T) {
		var templateErr *cachify.TemplateError
		_, err := cachify.NewLock[struct{ A, B int }](c, "f-<a>", nil)
		if !errors.As(err, &templateErr) {
			t.Errorf("error %v, want a *TemplateError", err)
		}
	})
	for _, ttl := range []time.Duration{0, time.Millisecond, 1500 * time.Microsecond, time.Hour, math.MaxInt64 / 2, cachify.NoExpiry} {
		newLock(c, &cachify.LockOptions{TTL: ttl, Wait: 1, Fenced: true, Label: "label"})
	}
}

func TestLock(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newLock(newClient(t, store, &cachify.Options{Prefix: "app:"}), nil), newLock(newClient(t, store, &cachify.Options{Prefix: "app:"}), nil)
		isLocked := func(want bool) {
			t.Helper()
			for _, l := range []*cachify.Lock[int]{here, there} {
				is, err := l.IsLocked(ctx, 1)
				noError(t, err)
				equal(t, "locked", is, want)
			}
		}
		isLocked(false)
		for name, call := range map[string]func(context.Context, int) (*cachify.Lease, error){"Acquire": here.Acquire, "TryAcquire": here.TryAcquire} {
			lease, err := call(ctx, 1)
			noError(t, err)
			isLocked(true)
			equal(t, "Key", lease.Key(), "app:lock:job-1")
			equal(t, "Key", cachify.Must(here.Key(1)), "app:lock:job-1")
			equal(t, "Keys", strings.Join(lease.Keys(), " "), "app:lock:job-1")
			equal(t, "valid", lease.Valid(), true)
			noError(t, lease.Context().Err())
			for _, l := range []*cachify.Lock[int]{here, there} {
				other, err := l.TryAcquire(ctx, 1)
				wantError(t, err, cachify.ErrLocked)
				wantMessage(t, err, "app:lock:job-1")
				if other != nil {
					t.Error("a lease came with the error")
				}
				noError(t, try2(ctx, l, 2)) // another key
			}
			noError(t, lease.Release(ctx))
			isLocked(false)
			equal(t, "valid after "+name, lease.Valid(), false)
			equal(t, "cause", context.Cause(lease.Context()), context.Canceled)
			next := try(t, there)
			wantError(t, lease.Release(ctx), cachify.ErrLockLost) // and nobody else's
			isLocked(true)
			_, err = lease.TTL(ctx)
			wantError(t, err, cachify.ErrLockLost)
			wantError(t, lease.Extend(ctx, time.Hour), cachify.ErrLockLost)
			_, err = lease.Fence(ctx)
			wantError(t, err, cachify.ErrLockLost)
			equal(t, "the next lease is valid", next.Valid(), true)
			noError(t, next.Release(ctx))
			isLocked(false)
		}
	})
}

// try2 takes the lock for args and releases it.
func try2(ctx context.Context, l *cachify.Lock[int], args int) error {
	lease, err := l.TryAcquire(ctx, args)
	if err != nil {
		return err
	}
	return lease.Release(ctx)
}

func TestLockTTLOnRedis(t *testing.T) {
	rdb, m := redistest.Mini(t)
	m.ClockTTL(false) // time stands still
	tests := []struct{ client, lock, want time.Duration }{
		{0, 0, cachify.DefaultLockTTL},
		{time.Minute, 0, time.Minute},
		{time.Minute, time.Hour, time.Hour},
		{cachify.NoExpiry, 0, cachify.NoExpiry},
		{0, cachify.NoExpiry, cachify.NoExpiry},
		{0, time.Second + 1, time.Second + time.Millisecond},
		{0, time.Hour + 999*time.Microsecond, time.Hour + time.Millisecond},
		{time.Minute + 1, 0, time.Minute + time.Millisecond},
	}
	for _, test := range tests {
		t.Run(fmt.Sprint(test.client, " ", test.lock), func(t *testing.T) {
			c := newClient(t, cachify.Redis(rdb), &cachify.Options{LockTTL: test.client})
			lease := try(t, newLock(c, &cachify.LockOptions{TTL: test.lock}))
			ttl, err := rdb.PTTL(t.Context(), "lock:job-1").Result()
			noError(t, err)
			equal(t, "TTL", ttl, test.want)
			ttl, err = lease.TTL(t.Context())
			noError(t, err)
			equal(t, "Lease.TTL", ttl, test.want)
			noError(t, lease.Release(t.Context()))
			slot, err := newSemaphore(c, 2, &cachify.LockOptions{TTL: test.lock}).TryAcquire(t.Context(), 1)
			noError(t, err)
			ttl, err = slot.TTL(t.Context())
			noError(t, err)
			if d := test.want - ttl; d < 0 || d > patience {
				t.Errorf("the slot's TTL is %v, want %v", ttl, test.want)
			}
			noError(t, slot.Release(t.Context()))
		})
	}
}

func TestDoReleasesWhateverTheFunctionDoes(t *testing.T) {
	failure := errors.New("no")
	ends := map[string]func() error{
		"nil":    func() error { return nil },
		"error":  func() error { return failure },
		"locked": func() error { return cachify.ErrLocked },
		"panic":  func() error { panic(failure) },
		"Goexit": func() error { runtime.Goexit(); return nil },
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		lock, sem := newLock(c, nil), newSemaphore(c, 1, nil)
		free := map[string]func() bool{
			"lock":      func() bool { is, err := lock.IsLocked(t.Context(), 1); return err == nil && !is },
			"semaphore": func() bool { n, err := sem.InUse(t.Context(), 1); return err == nil && n == 0 },
		}
		for kind, do := range map[string]func(context.Context, int, func(context.Context) error) error{"lock": lock.Do, "semaphore": sem.Do} {
			for name, end := range ends {
				for _, cancelled := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, %s, cancelled %v", kind, name, cancelled), func(t *testing.T) {
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						panicked, got := make(chan any, 1), make(chan error, 1)
						go func() {
							defer func() { panicked <- recover() }()
							got <- do(ctx, 1, func(ctx context.Context) error {
								if free[kind]() {
									t.Error("the function runs without the lock")
								}
								if cancelled {
									cancel()
									<-ctx.Done()
								}
								return end()
							})
						}()
						value := receive(t, "the end of Do", panicked)
						equal(t, "free", free[kind](), true)
						if name == "panic" {
							equal(t, "panic", value, any(failure))
						}
						if returned := name != "panic" && name != "Goexit"; returned != (len(got) == 1) {
							t.Errorf("Do returned: %v", !returned)
						} else if returned {
							equal(t, "error", <-got, map[string]error{"error": failure, "locked": cachify.ErrLocked}[name])
						}
					})
				}
			}
		}
	})
}

func TestDoTellsOfALostLock(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		lock := newLock(newClient(t, store, nil), nil)
		failure := errors.New("no")
		err := lock.Do(ctx, 1, func(ctx context.Context) error {
			noError(t, lock.Release(context.WithoutCancel(ctx), 1))
			receive(t, "the end of the function's ctx", ctx.Done())
			wantError(t, context.Cause(ctx), cachify.ErrLockLost)
			return failure
		})
		wantError(t, err, failure)
		wantError(t, err, cachify.ErrLockLost)
		err = lock.Do(ctx, 1, func(context.Context) error {
			_, err := store.Delete(ctx, nil, []string{"lock:job-1"})
			return err
		})
		wantError(t, err, cachify.ErrLockLost)
	})
}

func TestReleaseWhateverBecameOfItsCtx(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		c := newClient(t, store, nil)
		lock, sem := newLock(c, nil), newSemaphore(c, 1, nil)
		dead, die := context.WithCancel(t.Context())
		die()
		late, cancel := context.WithTimeout(t.Context(), -1)
		defer cancel()
		for _, ctx := range []context.Context{dead, late} {
			for range 2 {
				for _, acquire := range []func(context.Context, int) (*cachify.Lease, error){lock.TryAcquire, sem.TryAcquire} {
					acquired, end := context.WithCancel(t.Context())
					lease, err := acquire(acquired, 1)
					noError(t, err)
					end()
					noError(t, lease.Release(ctx))
				}
			}
			_, err := lock.Acquire(ctx, 1)
			wantError(t, err, ctx.Err())
			_, err = lock.TryAcquire(ctx, 1)
			wantError(t, err, ctx.Err())
		}
	})
}

// A key of another type ends the wait for it, for all who wait. (For Redis, a test on a real server shows it.)
func TestAKeyOfAnotherTypeIsAnError(t *testing.T) {
	for _, immediate := range []bool{true, false} {
		t.Run(fmt.Sprintf("immediate %v", immediate), func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				ctx, store := t.Context(), r.store.Store
				lock := r.lock
				if immediate {
					lock = r.other(t, cachify.LockOptions{})
				}
				_, taken, err := store.Lock(ctx, cachify.Claim{Keys: []string{r.key}, Token: "before", TTL: time.Millisecond}, "")
				noError(t, err)
				equal(t, "taken", taken, true)
				waits := []<-chan result[*cachify.Lease]{acquire(ctx, lock), acquire(ctx, lock), acquire(ctx, lock)}
				time.Sleep(time.Millisecond) // it has expired, of which nobody is told
				_, taken, err = store.Lock(ctx, cachify.Claim{Keys: []string{r.key}, Token: "semaphore", TTL: time.Hour, Slots: 1}, "")
				noError(t, err)
				equal(t, "taken", taken, true)
				began := time.Now()
				for _, w := range append(waits, acquire(ctx, lock), async(func() (*cachify.Lease, error) { return lock.TryAcquire(ctx, 1) })) {
					got := receive(t, "the end of a wait that can't succeed", w)
					if got.err == nil || errors.Is(got.err, cachify.ErrLocked) {
						t.Errorf("error %v, want one about the key's type", got.err)
					}
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("that took %v", took)
				}
				_, err = lock.IsLocked(ctx, 1)
				wantMessage(t, err, r.key)
			})
		})
	}
}

func TestLocksAfterClose(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := cachify.New(store, nil)
		lock, sem := newLock(c, nil), newSemaphore(c, 1, nil)
		held, slot := try(t, lock), cachify.Must(sem.Acquire(ctx, 1))
		waits := acquire(ctx, lock)
		eventually(t, "it waits", func() bool { return c.Stats().LeaseWaits == 1 })
		noError(t, c.Close())
		wantError(t, receive(t, "the end of the wait", waits).err, cachify.ErrClosed)
		for name, call := range map[string]func() error{
			"Acquire":     func() error { _, err := lock.Acquire(ctx, 2); return err },
			"TryAcquire":  func() error { _, err := lock.TryAcquire(ctx, 2); return err },
			"AcquireMany": func() error { _, err := lock.AcquireMany(ctx, []int{2, 3}); return err },
			"Do":          func() error { return lock.Do(ctx, 2, func(context.Context) error { return nil }) },
			"IsLocked":    func() error { _, err := lock.IsLocked(ctx, 2); return err },
			"Holder":      func() error { _, _, err := lock.Holder(ctx, 2); return err },
			"Release":     func() error { return lock.Release(ctx, 2) },
			"Semaphore":   func() error { _, err := sem.Acquire(ctx, 2); return err },
			"InUse":       func() error { _, err := sem.InUse(ctx, 2); return err },
			"Holders":     func() error { _, err := sem.Holders(ctx, 2); return err },
		} {
			if err := call(); !errors.Is(err, cachify.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
		noError(t, held.Release(ctx)) // what is held can still be given back
		noError(t, slot.Release(ctx))
		next := newClient(t, store, nil)
		noError(t, try(t, newLock(next, nil)).Release(ctx))
	})
}
