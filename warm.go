package cachify

import (
	"context"
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
// time. What is there already is not loaded. It goes on after errors, and stops when ctx is done.
//
// If any argument fails, the error is a [*BatchError] for all of args; those that were not begun when ctx was done have ctx's error there. A
// panic of the function ends the batch that it is in, and becomes the caller's when the others are done.
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
	w := &warming{progress: o.Progress, errs: make([]error, len(args))}
	var group errgroup.Group
	group.SetLimit(o.Concurrency)
	from := 0
	for batch := range slices.Chunk(args, o.Batch) {
		if ctx.Err() != nil {
			break
		}
		at := from
		group.Go(func() error {
			returned := false
			defer func() {
				if !returned {
					w.crashed(recover())
				}
			}()
			w.done(at, len(batch), c.getMany(ctx, batch).err)
			returned = true
			return nil
		})
		from += len(batch)
	}
	_ = group.Wait() // w has the errors
	w.crash.resume()
	for i := from; i < len(args); i++ {
		w.errs[i] = fmt.Errorf("cachify: Warm: not begun: %w", ctx.Err())
		w.lost++
	}
	if w.lost == 0 {
		return nil
	}
	return &BatchError{Errs: w.errs}
}

// A warming is one call of Warm.
type warming struct {
	progress func(done, failed int)

	mu          sync.Mutex
	ended, lost int
	errs        []error
	crash       *crash // the first one
}

// done takes note of a batch of n arguments from the given one on.
func (w *warming) done(from, n int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended += n
	for i := range n {
		if w.errs[from+i] = errorAt(err, i); w.errs[from+i] != nil {
			w.lost++
		}
	}
	if w.progress != nil {
		w.progress(w.ended, w.lost)
	}
}

func (w *warming) crashed(value any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.crash == nil {
		w.crash = &crash{value: value, goexit: value == nil}
	}
}
