// Command fencing shows what a fencing token is for, and why a store must check it on reads as well as on writes: two
// holders of one lock, the first of which was paused for longer than its lock lives, increment a counter in SQLite.
// It plays the same scene twice, with a store that checks writes alone and loses an increment, and with one that checks both.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/go-cachify/cachify"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fencing has failed:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "cachify-fencing-")
	if err != nil {
		return fmt.Errorf("make a temporary database: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	table, err := openCounters(ctx, filepath.Join(dir, "counters.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	client := cachify.New(cachify.Memory(), nil)
	defer func() { err = errors.Join(err, client.Close()) }()
	lock, err := newLock(client)
	if err != nil {
		return err
	}

	s := scene{lock: lock, table: table, out: out}
	fmt.Fprintln(out, "The store checks writes alone:")
	if err := s.play(ctx, "written", table.readUnchecked); err != nil {
		return err
	}
	fmt.Fprintln(out, "The store checks reads and writes:")
	return s.play(ctx, "read and written", table.read)
}

// newLock makes the lock that guards the counters, one for each name. It takes its fencing token together with the lock.
func newLock(client *cachify.Client) (*cachify.Lock[string], error) {
	return cachify.NewLock[string](client, "counter-<name>", &cachify.LockOptions{Fenced: true})
}

// increment adds one to a counter under its lock. Whatever happens to the lock on the way, if it returns nil then the
// counter is one more than it was, and nobody else has changed it between its read and its write.
func increment(ctx context.Context, lock *cachify.Lock[string], table *counters, name string) error {
	return withFence(ctx, lock, name, func(ctx context.Context, fence int64) error {
		value, err := table.read(ctx, name, fence)
		if err != nil {
			return err
		}
		return table.write(ctx, name, value+1, fence)
	})
}

func withFence(ctx context.Context, lock *cachify.Lock[string], name string, fn func(ctx context.Context, fence int64) error) (err error) {
	lease, err := lock.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer func() {
		// That the lock was lost matters to nobody but the store, which has the token to go by.
		if endErr := lease.Release(ctx); !errors.Is(endErr, cachify.ErrLockLost) {
			err = errors.Join(err, endErr)
		}
	}()
	fence, err := lease.Fence(ctx)
	if err != nil {
		return err
	}
	return fn(lease.Context(), fence)
}
