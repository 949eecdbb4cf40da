package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Lease is a lock, several locks, or a slot of a semaphore, that this process holds until it is released or lost. It is
// renewed in the background for as long as its options say. It is safe for concurrent use.
type Lease struct {
	c      *Client
	claim  Claim
	terms  *terms
	parent context.Context // of ctx

	// Set when the lease is taken.
	ctx    context.Context
	cancel context.CancelCauseFunc
	taken  time.Time // when the request that took it was sent

	mu       sync.Mutex
	over     bool        // given up, released or lost: nothing is to be renewed any more
	released bool        // Release was called
	doubt    bool        // an attempt may have taken it, or may yet take it, without this process knowing
	forever  bool        // it does not expire
	until    time.Time   // if it does, it is certain to be held until then
	expiry   *time.Timer // ends ctx then
	fence    int64       // 0 if not asked for yet
	run      run

	renewal renewal // guarded by c.renewals
}

// terms are on what terms a Lock, a Semaphore or a Once takes leases.
type terms struct {
	ttl     time.Duration
	maxHold time.Duration // 0: no limit
	renew   bool
	slots   int // 0: a lock
	fenced  bool
	label   string
	stats   *counters
	taken   error // what callers get when others hold it: ErrLocked or ErrFull
}

// newLease makes a lease that is yet to be taken. Its context will be a child of ctx.
func (c *Client) newLease(ctx context.Context, t *terms, keys ...string) *Lease {
	l := &Lease{c: c, terms: t, parent: ctx, claim: Claim{Keys: keys, Token: newToken(t.label), TTL: t.ttl, Slots: t.slots}}
	l.renewal.place = -1
	if t.fenced {
		l.claim.Fences = c.fenceKeys(keys)
	}
	return l
}

// Key returns the key of what is held, exactly as it is in Redis; for several locks, the first in alphabetical order.
func (l *Lease) Key() string { return l.claim.Keys[0] }

// Keys returns the keys of what is held, in alphabetical order. Only [Lock.AcquireMany] gives more than one.
func (l *Lease) Keys() []string { return slices.Clone(l.claim.Keys) }

// Context returns a child of the ctx that the lease was acquired with. Work that the lease protects should run under
// it: it is cancelled with cause [ErrLockLost] (see [context.Cause]) as soon as the lease is known to be lost, and in any
// case before its time to live can have run out in the store, reckoned on this process's monotonic clock from when the
// last successful request was sent, less a tenth of the TTL, a second at most. Release cancels it too.
func (l *Lease) Context() context.Context { return l.ctx }

// Valid says whether the lease is certain to be held, by this process's clock alone, at the moment it is asked. A process that was
// stopped and goes on learns from it at once what its contexts' timers will tell it a moment later.
func (l *Lease) Valid() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.validLocked()
}

func (l *Lease) validLocked() bool {
	return !l.over && l.ctx != nil && (l.forever || time.Now().Before(l.until))
}

// TTL asks the store how long the lease has left, [NoExpiry] if it does not expire. If it is no longer held, the error is
// [ErrLockLost].
func (l *Lease) TTL(ctx context.Context) (time.Duration, error) {
	least := NoExpiry
	for _, key := range l.claim.Keys {
		tokens, left, err := l.c.holders(ctx, key, l.terms.slots > 0)
		if err != nil {
			return 0, fmt.Errorf("cachify: TTL of %s: %w", key, err)
		}
		i := slices.Index(tokens, l.claim.Token)
		if i < 0 {
			return 0, l.gone()
		}
		if left[i] != NoExpiry && (least == NoExpiry || left[i] < least) {
			least = left[i]
		}
	}
	return least, nil
}

// Extend makes the lease live for at least d from now, d being at least a millisecond or [NoExpiry]. It never shortens it.
// Renewal, if there is any, goes on as before. If the lease is no longer held, the error is [ErrLockLost].
func (l *Lease) Extend(ctx context.Context, d time.Duration) error {
	if err := checkLockTTL("the duration of Extend", d); err != nil || d == 0 {
		return errors.Join(err, fmt.Errorf("cachify: Extend of %s: give it at least a millisecond, or NoExpiry", l.Key()))
	}
	if !l.Valid() {
		return l.gone()
	}
	claim := l.claim
	claim.TTL = d
	sent := time.Now()
	op, cancel := l.c.opContext(ctx)
	defer cancel()
	done, errs := l.c.store.Extend(op, []Claim{claim})
	if errs != nil && l.report(ctx, errs[0]) != nil {
		return fmt.Errorf("cachify: Extend of %s: %w", l.Key(), errs[0])
	}
	if !done[0] || !l.confirm(sent, d) {
		return l.gone()
	}
	return nil
}

// Fence returns the lease's fencing token: a number that is greater than that of any earlier holding of the same
// key, over expiry, crashes, and loss of the server's data. Hand it to the systems that the lease protects, so that they
// can turn away whoever comes with a smaller one (see docs/locks.md; the idea is Kleppmann's, "How to do distributed
// locking", 2016). For one lease it is the same number each time. It is taken when first asked for, or with the lease
// if LockOptions.Fenced is set; a holder that has lost its lease does not get one any more but [ErrLockLost].
//
// A semaphore has several holders at a time, which no number can put in order: its leases give an error.
func (l *Lease) Fence(ctx context.Context) (int64, error) {
	if l.terms.slots > 0 {
		return 0, fmt.Errorf("cachify: Fence of %s: a semaphore has several holders at a time, which no fencing token can put in order", l.Key())
	}
	if !l.Valid() {
		return 0, l.gone()
	}
	if fence := l.knownFence(); fence != 0 {
		return fence, nil
	}
	claim := l.claim
	claim.Fences = l.c.fenceKeys(claim.Keys)
	op, cancel := l.c.opContext(ctx)
	defer cancel()
	fence, ok, err := l.c.store.Fence(op, claim)
	if l.report(ctx, err) != nil {
		return 0, fmt.Errorf("cachify: Fence of %s: %w", l.Key(), err)
	}
	if !ok {
		return 0, l.gone()
	}
	l.setFence(fence)
	return fence, nil
}

// Release gives the lease back and wakes who waits for it. It works whatever has become of ctx, of which it uses only the
// values, and cancels the lease's context. If the lease was no longer held, or is released for the second time,
// the error is [ErrLockLost], and nobody else's lock is touched. If the store can't be reached, its error comes back, and the
// background goes on trying for as long as the lock can live.
func (l *Lease) Release(ctx context.Context) error {
	ctx, end := l.c.trace(context.WithoutCancel(ctx), Operation{Name: "Release", Key: l.Key()})
	err := l.release(ctx)
	end(Outcome{Err: err})
	return err
}

func (l *Lease) release(ctx context.Context) error {
	held, again := l.end(true)
	if again {
		return l.lostError()
	}
	l.cancel(nil)
	ok, err := false, error(nil)
	if held {
		ok, err = l.handOver(ctx)
	}
	if !ok && err == nil {
		ok, err = l.unlock(ctx)
	}
	if err != nil {
		err = fmt.Errorf("cachify: release of %s: %w", l.Key(), err)
	}
	if err != nil || l.inDoubt() {
		l.c.spawn(l.undo)
	}
	gone := err == nil && !ok
	if gone && held {
		l.terms.stats.leasesLost.Add(1) // nobody had noticed
	}
	if gone || !held {
		err = errors.Join(l.lostError(), err)
	}
	return err
}

// keep ends the lease and leaves the lock to expire by itself.
func (l *Lease) keep() error {
	held, _ := l.end(true)
	l.cancel(nil)
	if !held {
		return l.lostError()
	}
	return nil
}

// confirm starts the clock anew after the store has confirmed the ttl to a request that was sent at the given time. It
// says whether the lease is still certain to be held.
func (l *Lease) confirm(sent time.Time, ttl time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.over || !l.prolong(sent, ttl) {
		return false
	}
	if l.ctx == nil {
		l.taken = sent
		l.ctx, l.cancel = context.WithCancelCause(l.parent)
		l.terms.stats.leases.Add(1)
	}
	l.c.renewals.plan(l, l.nextRenewal(sent))
	return true
}

// prolong sets the time until which the lease is certain to be held, never to an earlier one: the store makes no time to live
// shorter. Only an attempt to take the lock may do so when it arrives late. It needs l.mu.
func (l *Lease) prolong(sent time.Time, ttl time.Duration) bool {
	if l.doubt && l.claim.TTL != NoExpiry && (ttl == NoExpiry || ttl > l.claim.TTL) {
		ttl = l.claim.TTL
	}
	if l.forever {
		return true
	}
	if ttl == NoExpiry {
		l.forever = true
		return l.expiry == nil || l.expiry.Stop() // false: it has just fired
	}
	until := sent.Add(ttl - driftMargin(ttl))
	if until.Before(l.until) {
		return true
	}
	left := time.Until(until)
	if left <= 0 {
		return false
	}
	l.until = until
	if l.expiry == nil {
		l.expiry = time.AfterFunc(left, l.lost)
		return true
	}
	return l.expiry.Reset(left)
}

// driftMargin is how much earlier than the ttl a holder stops trusting it, for clocks that do not run at quite the
// same speed and for the time it takes a function to notice its ctx.
func driftMargin(ttl time.Duration) time.Duration { return min(ttl/10, time.Second) }

// lost ends a lease that is known to be lost, or not known to be held any longer.
func (l *Lease) lost() {
	if _, again := l.end(false); !again {
		l.terms.stats.leasesLost.Add(1)
		l.cancel(ErrLockLost)
	}
}

// gone is lost, and returns the error for it.
func (l *Lease) gone() error {
	l.lost()
	return l.lostError()
}

func (l *Lease) lostError() error { return fmt.Errorf("%w: %s", ErrLockLost, l.Key()) }

// end ends the lease and its clocks, and says whether it was certain to be held until now. again says that it has
// been ended before: by Release, if this is a release, else by anything.
func (l *Lease) end(release bool) (held, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	held, again = l.validLocked(), l.over && !release || l.released
	l.over = true
	l.released = l.released || release
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.c.renewals.drop(l)
	return held, again
}

func (l *Lease) isOver() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.over
}

func (l *Lease) inDoubt() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.doubt
}

func (l *Lease) setDoubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.doubt = true
}

func (l *Lease) knownFence() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fence
}

func (l *Lease) setFence(fence int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fence = fence
}
