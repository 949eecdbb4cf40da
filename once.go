package cachify

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OnceOptions are the settings of a [Once]. Nil, or a zero field, means the default.
type OnceOptions struct {
	// TTL is how long the lock lives without renewal, at least a millisecond, or [NoExpiry] for ever, in which case it
	// is never renewed. It bounds how long a process that died keeps others out.
	// Default: Options.LockTTL.
	TTL time.Duration

	// Wait is how long Do waits for the lock if somebody else holds it, beside ctx.
	// Default: 0, not at all.
	Wait time.Duration

	// Keep leaves the lock in place after a run that returned no error, until its TTL ends: the function runs at most once
	// per TTL, not just one at a time. A run that failed or panicked frees it at once. The TTL counts from the last renewal; with
	// NoRenew, from the start of the run.
	// Default: false, the lock is released after each run.
	Keep bool

	// KeepOnError makes Keep leave the lock in place after a run that returned an error, too. A panic frees it all the same.
	// Default: false, such a run frees it.
	KeepOnError bool

	// Limit admits up to so many runs at a time for each key, across all processes. A Once with a limit above 1 uses a
	// semaphore: where processes disagree on whether there is one, those that come later get an error.
	// Default: 0, which is one at a time, as 1 is.
	Limit int

	// NoRenew turns off the renewal of the lock while the function runs. The function's ctx is then cancelled when the
	// TTL ends.
	// Default: false, the lock is renewed for as long as the function runs.
	NoRenew bool
}

// A Once runs a function one at a time for each key, across all processes. It is safe for concurrent use.
// Make one with [NewOnce].
type Once[K, V any] struct {
	client   *Client
	fn       Func[K, V]
	template *template[K]
	prefix   string
	opts     OnceOptions
	terms    *terms
	onLocked Func[K, V] // nil: ErrLocked
}

// NewOnce wraps fn so that it runs one at a time for each key that template makes of its arguments (see docs/keys.md).
//
// The errors are those of a nil client or function and of what was wrong with the client's options, a
// [*TemplateError] for a template that does not parse or does not fit K, and options out of range.
func NewOnce[K, V any](c *Client, template string, fn Func[K, V], opts *OnceOptions) (*Once[K, V], error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if fn == nil {
		return nil, fmt.Errorf("cachify: template %q: the function is nil: give NewOnce the function to run", template)
	}
	var o OnceOptions
	if opts != nil {
		o = *opts
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.TTL == 0 {
		o.TTL = c.opts.LockTTL
	}
	t, err := newTemplate[K](template)
	if err != nil {
		return nil, err
	}
	terms := o.terms()
	terms.stats = c.countersOf("once", template)
	return &Once[K, V]{client: c, fn: fn, template: t, prefix: c.opts.Prefix + "once:", opts: o, terms: terms}, nil
}

func (o *OnceOptions) terms() *terms {
	t := &terms{ttl: roundUp(o.TTL), renew: !o.NoRenew && o.TTL != NoExpiry, taken: ErrLocked}
	if o.Limit > 1 {
		t.slots, t.taken = o.Limit, errOnceFull
	}
	return t
}

// errOnceFull is what Do returns when as many run as OnceOptions.Limit admits. It is ErrLocked as well as ErrFull, so that
// callers need not know whether there is a limit.
var errOnceFull error = onceFull{}

type onceFull struct{}

func (onceFull) Error() string { return "cachify: locked: as many run as the limit admits" }

func (onceFull) Is(target error) bool { return target == ErrLocked || target == ErrFull }

func (o *OnceOptions) check() error {
	err := checkLockTTL("OnceOptions.TTL", o.TTL)
	if o.Wait < 0 {
		err = errors.Join(err, fmt.Errorf("cachify: OnceOptions.Wait is %v: it must be positive, or 0 for no waiting", o.Wait))
	}
	if o.Limit < 0 {
		err = errors.Join(err, fmt.Errorf("cachify: OnceOptions.Limit is %d: it must be positive, or 0 for one at a time", o.Limit))
	}
	if o.KeepOnError && !o.Keep {
		err = errors.Join(err, errors.New("cachify: OnceOptions.KeepOnError says when Keep applies: set Keep too, or leave it out"))
	}
	return err
}

// ReturnOnLocked returns a copy of o whose Do, where it would return [ErrLocked], returns v and no error instead.
// The lock is shared with o. All callers get the same v, so leave what it points to unchanged.
func (o *Once[K, V]) ReturnOnLocked(v V) *Once[K, V] {
	return o.OnLocked(func(context.Context, K) (V, error) { return v, nil })
}

// OnLocked returns a copy of o whose Do, where it would return [ErrLocked], returns what answer makes of the arguments
// instead. The lock is shared with o. A nil answer brings ErrLocked back.
func (o *Once[K, V]) OnLocked(answer Func[K, V]) *Once[K, V] {
	with := *o
	with.onLocked = answer
	return &with
}

// Do runs the function if nobody else runs it for this key (with OnceOptions.Limit, if fewer than that do), and returns what it
// returns. Else, after OnceOptions.Wait, it returns [ErrLocked], or the answer of [Once.ReturnOnLocked] or [Once.OnLocked].
// An ErrLocked that the function itself returns is the function's own, and comes back as it is.
//
// The function runs in the caller's goroutine. Its ctx is cancelled with cause [ErrLockLost] as soon as the lock is
// known to be lost, and before its TTL can have run out; what the function does after that is not protected any
// more. If the lock was lost, by that or by a forced [Once.Release], Do returns the function's value with an error that
// wraps ErrLockLost, beside the function's own.
//
// Do fails closed: if the store can't be reached, its error comes back and the function does not run. The lock is
// released also after a panic, and when ctx is cancelled.
func (o *Once[K, V]) Do(ctx context.Context, args K) (v V, err error) {
	key, err := o.Key(args)
	if err != nil {
		return v, err
	}
	ctx, end := o.client.trace(ctx, Operation{Name: "Do", Template: o.template.text(), Key: key})
	out := Outcome{Err: errCrashed}
	defer func() { end(out) }()
	v, err = o.do(ctx, key, args, &out)
	out.Err = err
	return v, err
}

func (o *Once[K, V]) do(ctx context.Context, key string, args K, out *Outcome) (v V, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	lease, err := o.client.acquire(ctx, ctx, o.terms, o.opts.Wait, key)
	if errors.Is(err, ErrLocked) {
		out.Status = "locked"
		if o.onLocked != nil && ctx.Err() == nil {
			return o.onLocked(ctx, args)
		}
	}
	if err != nil {
		return v, err
	}
	out.Status = "ran"
	return o.run(lease, args, out)
}

// run runs the function under a lease, and gives it back whatever the function does.
func (o *Once[K, V]) run(l *Lease, args K, out *Outcome) (v V, err error) {
	keep := false
	defer func() {
		var endErr error
		if keep {
			endErr = l.keep()
		} else {
			endErr = l.release(context.WithoutCancel(l.parent))
		}
		if errors.Is(endErr, ErrLockLost) {
			err = errors.Join(err, endErr)
		} else {
			out.StoreErr = endErr // the function has run; the lock ends by its ttl
		}
	}()
	v, err = o.fn(l.ctx, args)
	keep = o.opts.Keep && (err == nil || o.opts.KeepOnError)
	return v, err
}

// IsLocked says whether Do would find the function running for args, as often as it may at a time, or, with
// OnceOptions.Keep, having run within the TTL.
func (o *Once[K, V]) IsLocked(ctx context.Context, args K) (bool, error) {
	key, err := o.Key(args)
	if err != nil {
		return false, err
	}
	return o.client.isLocked(ctx, key, o.terms.slots)
}

// Release removes the lock for args, whoever holds it, or all of the locks if there is a limit. It is meant for operators and
// for tests: a function that is running under it goes on until it notices that its ctx is cancelled, which is at once
// if its process can be reached. It is no error if there is no lock.
func (o *Once[K, V]) Release(ctx context.Context, args K) error {
	key, err := o.Key(args)
	if err != nil {
		return err
	}
	return o.client.forceRelease(ctx, key, o.terms.slots)
}

// Key returns the key of the lock for args, exactly as it is in Redis. An error means that args has no key,
// such as a NaN.
func (o *Once[K, V]) Key(args K) (string, error) {
	return o.template.render(o.prefix, args)
}
