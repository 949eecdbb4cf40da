package cachify

import (
	"context"
	"fmt"
	"time"
)

// A Semaphore is held by a limited number of leases at a time for each key, across all processes. Each lease has a
// time to live and a renewal of its own, so the slot of a process that died becomes free by itself. It is safe for
// concurrent use. Make one with [NewSemaphore].
type Semaphore[K any] struct {
	client   *Client
	template *template[K]
	prefix   string
	wait     time.Duration
	terms    *terms
}

// NewSemaphore makes a semaphore of size slots for each key that template makes of a K (see docs/keys.md). Where processes
// disagree about the size, each goes by its own: it takes a slot while fewer than that are taken.
//
// The errors are those of a nil client and of what was wrong with the client's options, a size smaller than 1, a
// [*TemplateError] for a template that does not parse or does not fit K, and options out of range, in contradiction, or
// without a meaning for semaphores.
func NewSemaphore[K any](c *Client, template string, size int, opts *LockOptions) (*Semaphore[K], error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if size < 1 {
		return nil, fmt.Errorf("cachify: template %q: the size of the semaphore is %d: it must be at least 1", template, size)
	}
	terms, wait, err := c.terms(opts)
	if err != nil {
		return nil, err
	}
	if terms.fenced {
		return nil, fmt.Errorf("cachify: template %q: LockOptions.Fenced is not for semaphores: "+
			"they have several holders at a time, which no fencing token can put in order", template)
	}
	t, err := newTemplate[K](template)
	if err != nil {
		return nil, err
	}
	terms.slots, terms.taken, terms.stats = size, ErrFull, c.countersOf("sem", template)
	return &Semaphore[K]{client: c, template: t, prefix: c.opts.Prefix + "sem:", wait: wait, terms: terms}, nil
}

// Acquire takes a slot for args. If all are taken, it waits as [Lock.Acquire] does. The lease must be released, and its
// context is a child of ctx. If the wait ends without a slot the error is [ErrFull], joined with ctx.Err() if ctx ended it.
func (s *Semaphore[K]) Acquire(ctx context.Context, args K) (*Lease, error) {
	return s.acquire(ctx, "Acquire", args, s.wait)
}

// TryAcquire takes a slot for args if one is free, in one round trip. Else the error is [ErrFull].
func (s *Semaphore[K]) TryAcquire(ctx context.Context, args K) (*Lease, error) {
	return s.acquire(ctx, "TryAcquire", args, 0)
}

func (s *Semaphore[K]) acquire(ctx context.Context, name string, args K, wait time.Duration) (*Lease, error) {
	key, err := s.Key(args)
	if err != nil {
		return nil, err
	}
	return s.client.acquireTraced(ctx, Operation{Name: name, Template: s.template.text(), Key: key}, s.terms, wait, key)
}

// Do runs fn in a slot for args, as [Lock.Do] does under a lock.
func (s *Semaphore[K]) Do(ctx context.Context, args K, fn func(ctx context.Context) error) error {
	lease, err := s.Acquire(ctx, args)
	if err != nil {
		return err
	}
	return lease.do(fn)
}

// InUse says how many slots for args are taken.
func (s *Semaphore[K]) InUse(ctx context.Context, args K) (int, error) {
	key, err := s.Key(args)
	if err != nil {
		return 0, err
	}
	tokens, _, err := s.client.holders(ctx, key, true)
	if err != nil {
		return 0, fmt.Errorf("cachify: InUse %s: %w", key, err)
	}
	return len(tokens), nil
}

// Holders describes who holds the slots for args.
func (s *Semaphore[K]) Holders(ctx context.Context, args K) ([]Holder, error) {
	key, err := s.Key(args)
	if err != nil {
		return nil, err
	}
	tokens, left, err := s.client.holders(ctx, key, true)
	if err != nil {
		return nil, fmt.Errorf("cachify: Holders %s: %w", key, err)
	}
	holders := make([]Holder, len(tokens))
	for i, token := range tokens {
		holders[i] = parseHolder(token, left[i])
	}
	return holders, nil
}

// Key returns the key of the semaphore for args, exactly as it is in Redis. An error means that args has no key,
// such as a NaN.
func (s *Semaphore[K]) Key(args K) (string, error) {
	return s.template.render(s.prefix, args)
}
