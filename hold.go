package cachify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A hold is a lock that this process holds, from the moment it was taken to its release. Its ctx is cancelled
// with cause ErrLockLost when the lock is known to be lost, and in any case before its ttl can have run out in the store,
// reckoned on the local monotonic clock from when the request that set the ttl was sent.
type hold struct {
	c     *Client
	key   string
	token string
	ttl   time.Duration
	renew bool

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	over   bool        // released or lost: nothing is to be renewed any more
	expiry *time.Timer // ends ctx
	next   *time.Timer // starts a renewal
}

// tryHold makes one attempt at the lock, in one round trip, which ends with waiting. It returns nil if somebody else holds
// it. An attempt that failed may have succeeded all the same in the store, so it is undone in the background.
func (c *Client) tryHold(ctx, waiting context.Context, key string, ttl time.Duration, renew bool) (*hold, error) {
	h := &hold{c: c, key: key, token: rand.Text(), ttl: ttl, renew: renew && ttl != NoExpiry}
	sent := time.Now()
	op, cancel := c.opContext(waiting)
	defer cancel()
	ok, err := c.store.Lock(op, key, h.token, ttl)
	if c.report(waiting, err) != nil {
		c.spawn(h.unlock)
		return nil, fmt.Errorf("cachify: lock %s: %w", key, err)
	}
	if !ok {
		return nil, nil
	}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	if !h.confirm(sent) {
		c.spawn(h.unlock)
		return nil, fmt.Errorf("cachify: lock %s: the store took longer to answer than the lock's ttl of %v: use a longer ttl", key, ttl)
	}
	return h, nil
}

// confirm starts the clock anew after the store has confirmed the ttl to a request that was sent at the given time. It
// says whether the lock is still certain to be held.
func (h *hold) confirm(sent time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	if h.ttl == NoExpiry {
		return true
	}
	left := time.Until(sent.Add(h.ttl - driftMargin(h.ttl)))
	if left <= 0 {
		return false
	}
	if h.expiry == nil {
		h.expiry = time.AfterFunc(left, h.lost)
	} else if !h.expiry.Reset(left) {
		return false // it has just fired
	}
	if h.renew {
		h.next = time.AfterFunc(h.ttl/3-min(time.Since(sent), h.ttl/3), func() { h.c.spawn(h.renewal) })
	}
	return true
}

// driftMargin is how much earlier than the ttl a holder stops trusting it, for clocks that do not run at quite the
// same speed and for the time it takes a function to notice its ctx.
func driftMargin(ttl time.Duration) time.Duration { return min(ttl/10, time.Second) }

// renewal extends the lock once, and plans the next time.
func (h *hold) renewal() {
	sent := time.Now()
	ctx := context.WithoutCancel(h.ctx) // the function may go on when its caller has gone
	op, cancel := h.c.opContext(ctx)
	defer cancel()
	ok, err := h.c.store.Extend(op, h.key, h.token, h.ttl)
	switch {
	case h.c.report(ctx, err) != nil:
		h.retryRenewal()
	case !ok:
		h.lost()
	default:
		h.confirm(sent)
	}
}

// retryRenewal tries again soon. The expiry goes on counting.
func (h *hold) retryRenewal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.next = time.AfterFunc(jittered(min(h.ttl/10, time.Second)), func() { h.c.spawn(h.renewal) })
	}
}

func (h *hold) lost() {
	h.end()
	h.cancel(ErrLockLost)
}

// end stops the clocks. It says whether they were still running.
func (h *hold) end() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return false
	}
	h.over = true
	if h.expiry != nil {
		h.expiry.Stop()
	}
	if h.next != nil {
		h.next.Stop()
	}
	return true
}

// keep ends the hold and leaves the lock to expire by itself.
func (h *hold) keep() error {
	if !h.end() {
		return fmt.Errorf("cachify: lock %s: %w", h.key, ErrLockLost)
	}
	h.cancel(nil)
	return nil
}

// release gives the lock back. It works whatever has become of the holder's ctx, and returns ErrLockLost if the
// lock was no longer the holder's. If the store can't be reached, the background goes on trying for as long as the
// lock can live.
func (h *hold) release() error {
	held := h.end()
	ctx := context.WithoutCancel(h.ctx)
	h.cancel(nil)
	op, cancel := h.c.opContext(ctx)
	defer cancel()
	ok, err := h.c.store.Unlock(op, h.key, h.token)
	switch {
	case h.c.report(ctx, err) != nil:
		h.c.spawn(h.unlock)
		return fmt.Errorf("cachify: release of lock %s: %w", h.key, err)
	case !ok || !held:
		return fmt.Errorf("cachify: lock %s: %w", h.key, ErrLockLost)
	}
	return nil
}

// unlock removes the lock if it is there under this token, in the background, for as long as it can be there.
func (h *hold) unlock() {
	var expired <-chan time.Time
	if h.ttl != NoExpiry {
		expired = time.After(h.ttl + h.c.opts.OpTimeout)
	}
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		op, cancel := h.c.opContext(h.c.ctx)
		_, err := h.c.store.Unlock(op, h.key, h.token)
		cancel()
		if err == nil {
			return
		}
		select {
		case <-h.c.ctx.Done():
			return
		case <-expired:
			return
		case <-time.After(jittered(wait)):
		}
	}
}

// waitHold is tryHold again and again until it has the lock, ctx is done, or wait is over. A release wakes it; a
// timer makes up for notifications that were lost and for locks that expired. Passing errors of the store do not end it.
func (c *Client) waitHold(ctx context.Context, key string, ttl, wait time.Duration, renew bool) (*hold, error) {
	if wait == 0 {
		return c.tryOrLocked(ctx, ctx, key, ttl, renew)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	h, err := c.tryOrLocked(ctx, waiting, key, ttl, renew)
	if err == nil {
		return h, nil
	}
	changes, stop := c.store.Watch(key)
	defer stop()
	poll := time.NewTimer(jittered(pollFirst))
	defer poll.Stop()
	for pace := pollFirst; ; {
		select {
		case <-waiting.Done():
			return nil, errors.Join(err, ctx.Err())
		case <-c.ctx.Done():
			return nil, ErrClosed
		case <-changes:
		case <-poll.C:
			pace = min(2*pace, pollMax)
		}
		poll.Reset(jittered(pace))
		h, tryErr := c.tryOrLocked(ctx, waiting, key, ttl, renew)
		if tryErr == nil {
			return h, nil
		}
		if ended(waiting) == nil { // else it says nothing about the lock
			err = tryErr
		}
	}
}

// tryOrLocked is tryHold with ErrLocked if somebody else holds the lock. The attempt ends with waiting, the hold with ctx.
func (c *Client) tryOrLocked(ctx, waiting context.Context, key string, ttl time.Duration, renew bool) (*hold, error) {
	h, err := c.tryHold(ctx, waiting, key, ttl, renew)
	if h == nil && err == nil {
		err = fmt.Errorf("%w: %s", ErrLocked, key)
	}
	return h, err
}
