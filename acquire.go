package cachify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// acquire takes a lease on what keys name. If others hold it, it waits until ctx is done or wait is over: 0 is not at all,
// forever as long as ctx allows. Passing errors of the store do not end a wait. The lease's context will be a child of parent,
// which ends with ctx.
func (c *Client) acquire(ctx, parent context.Context, t *terms, wait time.Duration, keys ...string) (*Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c.isClosed() {
		return nil, ErrClosed
	}
	l := c.newLease(parent, t, keys...)
	if err := l.acquire(ctx, wait); err != nil {
		l.giveUp()
		return nil, err
	}
	return l, nil
}

// forever as a wait means as long as ctx allows.
const forever time.Duration = -1

func (l *Lease) acquire(ctx context.Context, wait time.Duration) error {
	if wait == 0 {
		return l.attempt(ctx)
	}
	waiting, cancel := ctx, context.CancelFunc(func() {})
	if wait != forever {
		waiting, cancel = context.WithTimeout(ctx, wait)
	}
	defer cancel()
	var first error
	if len(l.claim.Keys) > 1 || !l.c.queues.has(l.Key()) {
		if first = l.attempt(waiting); first == nil || isPermanent(first) {
			return first
		}
		if ended(waiting) != nil && !errors.Is(first, l.terms.taken) {
			first = nil // it says nothing about the lock
		}
	}
	l.terms.stats.leaseWaits.Add(1)
	if len(l.claim.Keys) > 1 {
		return l.waitForAll(ctx, waiting, first)
	}
	if ended(waiting) != nil { // l may have been abandoned, and is then the business of its attempt
		if first == nil {
			first = l.noAnswer()
		}
		return errors.Join(first, ended(ctx))
	}
	return l.c.queues.wait(ctx, waiting, l, first)
}

// attempt makes one attempt, and returns when ctx is done. The attempt is then left to a goroutine, which undoes what
// comes of it: go-redis does not notice a cancellation while a command is on its way. This costs some microseconds, so it is not
// done where the store answers at once or nobody can cancel.
func (l *Lease) attempt(ctx context.Context) error {
	if l.c.immediate || ctx.Done() == nil {
		return l.try(ctx)
	}
	result := make(chan error, 1)
	var settled atomic.Bool // by the answer or by ctx, whichever is first
	if !l.c.spawn(func() {
		err := l.try(ctx)
		result <- err
		if settled.Swap(true) && (err == nil || l.inDoubt()) && l.isOver() {
			l.undo()
		}
	}) {
		return ErrClosed
	}
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
	}
	if settled.Swap(true) {
		return <-result
	}
	l.abandon()
	return ctx.Err()
}

// untilDone gives what f gives, or the zero value if ctx is done earlier, or the client is closed.
func untilDone[T any](ctx context.Context, c *Client, f func() T) (v T) {
	result := make(chan T, 1)
	if !c.spawn(func() { result <- f() }) {
		return v
	}
	select {
	case v = <-result:
	case <-ctx.Done():
	}
	return v
}

// abandon ends a lease whose attempt is under way, and that nobody will be there to hear of, unless it has been handed over meanwhile:
// the attempt may then yet set the time to live anew.
func (l *Lease) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.over = true
	} else {
		l.doubt = true
	}
}

// try makes one attempt at taking the lease, in one round trip.
func (l *Lease) try(ctx context.Context) error {
	sent, checks := time.Now(), l.c.renewals.noted()
	ok, err := l.ask(ctx, "")
	switch {
	case err != nil:
		return fmt.Errorf("cachify: acquire %s: %w", l.Key(), err)
	case !ok:
		return l.takenError()
	case !l.confirm(sent, l.claim.TTL):
		l.setDoubt()
		return fmt.Errorf("cachify: acquire %s: the store took longer to answer than the TTL of %v: use a longer one", l.Key(), l.claim.TTL)
	}
	l.startRun(run{count: 1, began: sent})
	l.recheck(checks)
	return nil
}

// ask asks the store for the lease, or to hand it over from the holder of that token. It says whether the lease is the claim's
// now. An attempt that fails may have succeeded all the same in the store, or may do so later: the lease is then in
// doubt, and undo puts an end to that. The next attempt, by the same token, recognises it.
func (l *Lease) ask(ctx context.Context, from string) (bool, error) {
	op, cancel := l.c.opContext(ctx)
	defer cancel()
	fence, ok, err := l.c.store.Lock(op, l.claim, from)
	if l.report(ctx, err) != nil {
		l.setDoubt()
		return false, err
	}
	if ok {
		l.setFence(fence)
	}
	return ok, nil
}

func (l *Lease) takenError() error { return fmt.Errorf("%w: %s", l.terms.taken, l.Key()) }

// giveUp ends a lease that was never taken, as far as this process can know.
func (l *Lease) giveUp() {
	l.end(false)
	if l.inDoubt() {
		l.c.spawn(l.undo)
	}
	if l.cancel != nil {
		l.cancel(nil)
	}
}

// renounce leaves what an attempt may have taken to the background, and goes on with another token.
func (l *Lease) renounce() {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := &Lease{c: l.c, claim: l.claim, terms: l.terms, parent: l.parent, over: true, doubt: true}
	l.c.spawn(before.undo)
	l.claim.Token = newToken(l.terms.label)
	l.doubt = false
}

// unlock gives the lease back in the store, and says whether it was there.
func (l *Lease) unlock(ctx context.Context) (bool, error) {
	op, cancel := l.c.opContext(ctx)
	defer cancel()
	ok, err := l.c.store.Unlock(op, l.claim)
	return ok, l.report(ctx, err)
}

// undo gives the lease back in the background. A request that was given up may reach the server late, so an
// answer that nothing is there is believed only when the lease's ttl has passed (for one that does not expire, an hour). When
// the client is closed it makes a last attempt.
func (l *Lease) undo() {
	over := time.NewTimer(l.longest() + l.c.opts.OpTimeout)
	defer over.Stop()
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		if l.undone() {
			return
		}
		select {
		case <-l.c.ctx.Done():
			l.undone()
			return
		case <-over.C:
			return
		case <-time.After(jittered(wait)):
		}
	}
}

// longest is how long the lease can live in the store from now on.
func (l *Lease) longest() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.forever || l.claim.TTL == NoExpiry {
		return time.Hour
	}
	left := time.Until(l.until) + time.Second // the most that driftMargin takes off
	return max(left, l.claim.TTL)
}

// undone says whether nothing more can be done.
func (l *Lease) undone() bool {
	op, cancel := l.c.opContext(context.WithoutCancel(l.parent))
	defer cancel()
	ok, err := l.c.store.Unlock(op, l.claim)
	return ok && err == nil || isPermanent(err)
}

// isPermanent tells errors that waiting does not mend: the key is of another type, or access is denied.
func isPermanent(err error) bool {
	if errors.Is(err, ErrClosed) || errors.Is(err, ErrWrongType) {
		return true
	}
	for _, prefix := range []string{"NOPERM", "NOAUTH", "WRONGPASS", "CROSSSLOT"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}
