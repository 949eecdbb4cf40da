package cachify

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LockOptions are the settings of a [Lock] or a [Semaphore]. Nil, or a zero field, means the default.
type LockOptions struct {
	// TTL is how long a lease lives without renewal, at least a millisecond and rounded up to whole ones, or [NoExpiry] for
	// ever, in which case it is never renewed. It bounds how long a process that died keeps others out.
	// Default: Options.LockTTL.
	TTL time.Duration

	// Wait is how long Acquire and Do wait for others, beside ctx. It has nothing to do with how long a lease lives.
	// Default: 0, as long as ctx allows.
	Wait time.Duration

	// NoRenew turns off the renewal of leases in the background. A lease then ends with its TTL unless it is extended.
	// Default: false, a lease is renewed until it is released.
	NoRenew bool

	// MaxHold limits for how long a lease is renewed, at least the TTL: when it is over, the lease is lost. It is a net for
	// leases that are never released.
	// Default: 0, no limit.
	MaxHold time.Duration

	// Fenced takes the fencing token of [Lease.Fence] together with the lock, which saves the round trip for it. It is not
	// for semaphores.
	// Default: false, the token is taken when it is first asked for.
	Fenced bool

	// Label describes the holder to operators, beside its host and process; see [Lock.Holder].
	// Default: none.
	Label string
}

// A Lock is held by one at a time for each key, across all processes. It is safe for concurrent use. Make one with [NewLock].
//
// What it can't do is told in docs/locks.md: above all, a server that fails over to a replica which has not yet heard of
// a lock loses it, and a holder that is stopped goes on later without knowing. Where that would do harm, use [Lease.Fence].
type Lock[K any] struct {
	client   *Client
	template *template[K]
	prefix   string
	wait     time.Duration
	terms    *terms
}

// NewLock makes a lock for each key that template makes of a K (see docs/keys.md).
//
// The errors are those of a nil client and of what was wrong with the client's options, a [*TemplateError] for a template
// that does not parse or does not fit K, and options out of range or in contradiction.
func NewLock[K any](c *Client, template string, opts *LockOptions) (*Lock[K], error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	terms, wait, err := c.terms(opts)
	if err != nil {
		return nil, err
	}
	t, err := newTemplate[K](template)
	if err != nil {
		return nil, err
	}
	terms.stats = c.countersOf("lock", template)
	return &Lock[K]{client: c, template: t, prefix: c.opts.Prefix + "lock:", wait: wait, terms: terms}, nil
}

// terms checks opts and sets what they leave out.
func (c *Client) terms(opts *LockOptions) (*terms, time.Duration, error) {
	var o LockOptions
	if opts != nil {
		o = *opts
	}
	if o.TTL == 0 {
		o.TTL = c.opts.LockTTL
	}
	if err := o.check(); err != nil {
		return nil, 0, err
	}
	if o.Wait == 0 {
		o.Wait = forever
	}
	renew := !o.NoRenew && o.TTL != NoExpiry
	return &terms{ttl: roundUp(o.TTL), maxHold: o.MaxHold, renew: renew, fenced: o.Fenced, label: o.Label, taken: ErrLocked}, o.Wait, nil
}

// roundUp gives a ttl in whole milliseconds, as the store keeps it.
func roundUp(ttl time.Duration) time.Duration {
	if rest := ttl % time.Millisecond; ttl != NoExpiry && rest > 0 {
		ttl += time.Millisecond - rest
	}
	return ttl
}

func (o *LockOptions) check() error {
	errs := []error{checkLockTTL("LockOptions.TTL", o.TTL)}
	if o.Wait < 0 {
		errs = append(errs, fmt.Errorf("cachify: LockOptions.Wait is %v: it must be positive, or 0 for as long as ctx allows", o.Wait))
	}
	if o.MaxHold != 0 {
		errs = append(errs, o.checkMaxHold())
	}
	return errors.Join(errs...)
}

func (o *LockOptions) checkMaxHold() error {
	switch {
	case o.NoRenew:
		return errors.New("cachify: LockOptions.MaxHold limits the renewal that NoRenew turns off: leave one of them out")
	case o.TTL == NoExpiry:
		return errors.New("cachify: LockOptions.MaxHold limits the renewal that a TTL of NoExpiry does without: leave one of them out")
	case o.MaxHold < o.TTL:
		return fmt.Errorf("cachify: LockOptions.MaxHold is %v: it must be at least the TTL of %v, or 0 for no limit", o.MaxHold, o.TTL)
	}
	return nil
}

// Acquire takes the lock for args. If somebody else holds it, Acquire waits until it has it, ctx is done, or LockOptions.Wait is
// over. Waiters of one client are served first come first served; among processes there is no order, but none
// keeps the lock to itself (see docs/locks.md).
//
// The lease must be released, usually by defer. Its context is a child of ctx, which should therefore be the ctx of the work, not
// one that only bounds the wait.
//
// If the wait ends without the lock the error is [ErrLocked], joined with ctx.Err() if ctx ended it. If the store fails
// it is that error, never ErrLocked; passing failures do not end the wait, but those do that waiting can't mend, such as
// a key of another type.
func (l *Lock[K]) Acquire(ctx context.Context, args K) (*Lease, error) {
	return l.acquire(ctx, "Acquire", args, l.wait)
}

// TryAcquire takes the lock for args if nobody holds it, in one round trip. Else the error is [ErrLocked].
func (l *Lock[K]) TryAcquire(ctx context.Context, args K) (*Lease, error) {
	return l.acquire(ctx, "TryAcquire", args, 0)
}

func (l *Lock[K]) acquire(ctx context.Context, name string, args K, wait time.Duration) (*Lease, error) {
	key, err := l.Key(args)
	if err != nil {
		return nil, err
	}
	return l.client.acquireTraced(ctx, Operation{Name: name, Template: l.template.text(), Key: key}, l.terms, wait, key)
}

func (c *Client) acquireTraced(ctx context.Context, op Operation, t *terms, wait time.Duration, keys ...string) (*Lease, error) {
	traced, end := c.trace(ctx, op)
	lease, err := c.acquire(traced, ctx, t, wait, keys...)
	end(Outcome{Status: t.status(err), Err: err})
	return lease, err
}

// status is the Outcome.Status of an acquisition.
func (t *terms) status(err error) string {
	switch {
	case err == nil:
		return "acquired"
	case errors.Is(err, t.taken):
		return "locked"
	}
	return ""
}

// Do runs fn under the lock for args, which it takes as [Lock.Acquire] does, and releases whatever fn does: return, panic, or end
// its goroutine. The ctx that fn gets is the lease's context. If the lock was lost meanwhile, the error wraps
// [ErrLockLost], beside fn's own.
func (l *Lock[K]) Do(ctx context.Context, args K, fn func(ctx context.Context) error) error {
	lease, err := l.Acquire(ctx, args)
	if err != nil {
		return err
	}
	return lease.do(fn)
}

func (l *Lease) do(fn func(ctx context.Context) error) (err error) {
	defer func() {
		if endErr := l.Release(l.parent); errors.Is(endErr, ErrLockLost) {
			err = errors.Join(err, endErr)
		}
	}()
	return fn(l.ctx)
}

// IsLocked says whether anybody holds the lock for args.
func (l *Lock[K]) IsLocked(ctx context.Context, args K) (bool, error) {
	key, err := l.Key(args)
	if err != nil {
		return false, err
	}
	return l.client.isLocked(ctx, key, 0)
}

// Holder describes who holds the lock for args, if anybody does.
func (l *Lock[K]) Holder(ctx context.Context, args K) (Holder, bool, error) {
	key, err := l.Key(args)
	if err != nil {
		return Holder{}, false, err
	}
	tokens, left, err := l.client.holders(ctx, key, false)
	if err != nil {
		return Holder{}, false, fmt.Errorf("cachify: Holder %s: %w", key, err)
	}
	if len(tokens) == 0 {
		return Holder{}, false, nil
	}
	return parseHolder(tokens[0], left[0]), true, nil
}

// Release removes the lock for args, whoever holds it, wakes who waits for it, and has the holder's lease lost. It is
// meant for operators and for tests: a function that runs under the lock goes on until it notices that its ctx is
// cancelled, which is at once if the holder can be reached. It is no error if nobody holds the lock.
func (l *Lock[K]) Release(ctx context.Context, args K) error {
	key, err := l.Key(args)
	if err != nil {
		return err
	}
	return l.client.forceRelease(ctx, key, 0)
}

// Key returns the key of the lock for args, exactly as it is in Redis. An error means that args has no key,
// such as a NaN.
func (l *Lock[K]) Key(args K) (string, error) {
	return l.template.render(l.prefix, args)
}
