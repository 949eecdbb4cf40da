package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

func Example() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// The store checks writes alone:
	//   A takes the lock and reads 0
	//   A is paused, and its lock ends
	//   B takes the lock and reads 0
	//   A writes 1
	//   B writes 1
	//   accepted writes: 2, the counter: 1
	// The store checks reads and writes:
	//   A takes the lock and reads 0
	//   A is paused, and its lock ends
	//   B takes the lock and reads 0
	//   A wants to write 1 and is turned away
	//   B writes 1
	//   accepted writes: 1, the counter: 1
}

// eachStore runs f with the lock on both stores.
func eachStore(t *testing.T, f func(t *testing.T, lock *cachify.Lock[string])) {
	run := func(name string, store func(t *testing.T) cachify.Store) {
		t.Run(name, func(t *testing.T) {
			client := cachify.New(store(t), nil)
			lock, err := newLock(client)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := client.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, lock)
		})
	}
	run("embedded", func(*testing.T) cachify.Store { return cachify.Memory() })
	run("redis", func(t *testing.T) cachify.Store { return cachify.Redis(redistest.Start(t).Client(t)) })
}

func newTable(t *testing.T) *counters {
	t.Helper()
	table, err := openCounters(t.Context(), filepath.Join(t.TempDir(), "counters.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantStale(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, errStale) {
		t.Errorf("%s gives %v, want %v", what, err, errStale)
	}
}

// holding takes the lock, by force if need be, and gives the fencing token.
func holding(t *testing.T, lock *cachify.Lock[string], name string) int64 {
	t.Helper()
	noError(t, lock.Release(t.Context(), name))
	lease, err := lock.Acquire(t.Context(), name)
	noError(t, err)
	fence, err := lease.Fence(t.Context())
	noError(t, err)
	return fence
}

// A holder that has lost its lock can neither read nor write as soon as its successor has read.
func TestStaleHolderIsTurnedAway(t *testing.T) {
	eachStore(t, func(t *testing.T, lock *cachify.Lock[string]) {
		ctx, table := t.Context(), newTable(t)
		first := holding(t, lock, "c")
		value, err := table.read(ctx, "c", first)
		noError(t, err)
		noError(t, table.write(ctx, "c", value+1, first)) // as long as nobody has come after it
		second := holding(t, lock, "c")
		if second <= first {
			t.Fatalf("the second holding has %d, the first %d", second, first)
		}
		value, err = table.read(ctx, "c", second)
		if err != nil || value != 1 {
			t.Fatalf("the second holder reads %d, %v", value, err)
		}
		_, err = table.read(ctx, "c", first)
		wantStale(t, "the first holder's read", err)
		wantStale(t, "the first holder's write", table.write(ctx, "c", 100, first))
		noError(t, table.write(ctx, "c", value+1, second))
		if value, err = table.read(ctx, "c", second); err != nil || value != 2 {
			t.Errorf("in the end it is %d, %v", value, err)
		}
	})
}

// Checked on writes alone: the successor has read what the stale holder is about to write over.
func TestWritesAloneLoseAnUpdate(t *testing.T) {
	ctx, table := t.Context(), newTable(t)
	const a, b = 33, 34
	for _, fence := range []int64{a, b} {
		if value, err := table.readUnchecked(ctx, "c", fence); err != nil || value != 0 {
			t.Fatal(value, err)
		}
	}
	noError(t, table.write(ctx, "c", 1, a)) // the row has seen no later token: B has only read
	noError(t, table.write(ctx, "c", 1, b))
	if value, err := table.readUnchecked(ctx, "c", 0); err != nil || value != 1 {
		t.Errorf("two increments made it %d, %v; this test is to show that one is lost", value, err)
	}
}

// Many increments at once, while locks are taken away all the time: each that returns nil counts, and none by a stale holder does.
func TestNoUpdateIsLost(t *testing.T) {
	const workers, increments = 8, 20
	eachStore(t, func(t *testing.T, lock *cachify.Lock[string]) {
		ctx, table := t.Context(), newTable(t)
		var done, unknown atomic.Int64
		plainIncrement := func() {
			switch err := increment(ctx, lock, table, "c"); {
			case err == nil:
				done.Add(1)
			case errors.Is(err, context.Canceled): // perhaps too late to stop the write
				unknown.Add(1)
			case !errors.Is(err, errStale) && !errors.Is(err, cachify.ErrLockLost):
				t.Error(err)
			}
		}
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for i := range increments {
					if i%4 != 0 {
						plainIncrement()
					} else if err := staleIncrement(ctx, lock, table, "c"); !errors.Is(err, errStale) && !errors.Is(err, cachify.ErrLockLost) {
						t.Errorf("a holder that others have come after gets %v, want %v or %v", err, errStale, cachify.ErrLockLost)
					}
				}
			})
		}
		group.Wait()
		value, err := table.readUnchecked(ctx, "c", 0)
		noError(t, err)
		t.Logf("%d increments returned no error, %d that of their ctx; the counter is %d", done.Load(), unknown.Load(), value)
		if value < done.Load() || value > done.Load()+unknown.Load() || done.Load() == 0 {
			t.Error("the counter does not agree with what the increments returned")
		}
	})
}

// staleIncrement is increment by a holder whose lock is taken away between its read and its write, by one that reads, too.
// It does not heed its ctx.
func staleIncrement(ctx context.Context, lock *cachify.Lock[string], table *counters, name string) error {
	read := func(_ context.Context, fence int64) error {
		_, err := table.read(ctx, name, fence)
		return err
	}
	return withFence(ctx, lock, name, func(_ context.Context, fence int64) error {
		value, err := table.read(ctx, name, fence)
		if err != nil {
			return err
		}
		if err := lock.Release(ctx, name); err != nil {
			return err
		}
		err = cachify.ErrLockLost
		for errors.Is(err, cachify.ErrLockLost) { // others do the same
			err = withFence(ctx, lock, name, read)
		}
		if err != nil && !errors.Is(err, errStale) { // stale: there is a third one by now
			return err
		}
		return table.write(ctx, name, value+1, fence)
	})
}
