package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

const (
	// DefaultWarmConcurrency is how many batches Warm works on at a time if WarmOptions do not say.
	DefaultWarmConcurrency = 4

	// DefaultWarmBatch is how many arguments one batch of Warm has if WarmOptions do not say.
	DefaultWarmBatch = 100
)

// WarmOptions are the settings of [Cached.Warm]. Nil, or a zero field, means the default.
type WarmOptions struct {
	// Concurrency is how many batches are worked on at a time.
	// Default: [DefaultWarmConcurrency].
	Concurrency int

	// Batch is how many arguments one GetMany is given.
	// Default: [DefaultWarmBatch].
	Batch int

	// Progress is called after each batch with the number of arguments that are done and of those that failed among them. The calls
	// come one after the other.
	// Default: none.
	Progress func(done, failed int)
}

// Warm fills the store for many arguments, so that later calls of Get find them: it is [Cached.GetMany] in batches, a few at a
// time. What is there already is not loaded. It goes on after errors, and returns them all, joined; it stops when ctx is done.
func (c *Cached[K, V]) Warm(ctx context.Context, args []K, opts *WarmOptions) error {
	var o WarmOptions
	if opts != nil {
		o = *opts
	}
	if o.Concurrency < 0 || o.Batch < 0 {
		return fmt.Errorf("cachify: WarmOptions: Concurrency is %d and Batch is %d: neither may be negative", o.Concurrency, o.Batch)
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultWarmConcurrency
	}
	if o.Batch == 0 {
		o.Batch = DefaultWarmBatch
	}
	w := &warming{progress: o.Progress}
	var group errgroup.Group
	group.SetLimit(o.Concurrency)
	for batch := range slices.Chunk(args, o.Batch) {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			failed, err := c.warm(ctx, batch)
			w.done(len(batch), failed, err)
			return nil
		})
	}
	_ = group.Wait() // w has the errors
	return errors.Join(append(w.errs, ctx.Err())...)
}

// warm is GetMany of one batch. It says how many of the arguments failed.
func (c *Cached[K, V]) warm(ctx context.Context, batch []K) (failed int, err error) {
	m := c.getMany(ctx, batch)
	for _, at := range m.index {
		if m.items[at].err != nil {
			failed++
		}
	}
	_, err = m.results()
	return failed, err
}

// A warming is one call of Warm.
type warming struct {
	progress func(done, failed int)

	mu          sync.Mutex
	ended, lost int
	errs        []error
}

func (w *warming) done(n, failed int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended += n
	w.lost += failed
	if err != nil {
		w.errs = append(w.errs, err)
	}
	if w.progress != nil {
		w.progress(w.ended, w.lost)
	}
}
