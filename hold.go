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
	doubt bool // an attempt may have taken the lock without this process knowing

	ctx    context.Context
	cancel context.CancelCauseFunc

	mu     sync.Mutex
	over   bool        // released or lost: nothing is to be renewed any more
	expiry *time.Timer // ends ctx
	next   *time.Timer // starts a renewal
}

// newHold makes a hold that is yet to be taken. ctx is to be that of the function.
func (c *Client) newHold(ctx context.Context, key string, ttl time.Duration, renew bool) *hold {
	h := &hold{c: c, key: key, token: rand.Text(), ttl: ttl, renew: renew && ttl != NoExpiry}
	h.ctx, h.cancel = context.WithCancelCause(ctx)
	return h
}

// try makes one attempt at the lock, in one round trip. An attempt that failed may have succeeded all the same in the store:
// doubt is then set, and giveUp undoes it. The next attempt, by the same token, recognises it.
func (h *hold) try(ctx context.Context) error {
	sent := time.Now()
	op, cancel := h.c.opContext(ctx)
	defer cancel()
	ok, err := h.c.store.Lock(op, h.key, h.token, h.ttl)
	switch {
	case h.c.report(ctx, err) != nil:
		h.doubt = true
		return fmt.Errorf("cachify: lock %s: %w", h.key, err)
	case !ok:
		return fmt.Errorf("%w: %s", ErrLocked, h.key)
	case !h.confirm(sent):
		h.doubt = true
		return fmt.Errorf("cachify: lock %s: the store took longer to answer than the lock's ttl of %v: use a longer ttl", h.key, h.ttl)
	}
	return nil
}

// giveUp ends a hold that was never taken, as far as this process can know.
func (h *hold) giveUp() {
	h.end()
	h.cancel(nil)
	if h.doubt {
		h.c.spawn(h.unlock)
	}
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
	if h.c.report(ctx, err) != nil {
		h.c.spawn(h.unlock)
		err = fmt.Errorf("cachify: release of lock %s: %w", h.key, err)
	}
	if !held || err == nil && !ok {
		err = errors.Join(fmt.Errorf("cachify: lock %s: %w", h.key, ErrLockLost), err)
	}
	return err
}

// unlock removes the lock if it is there under this token, in the background. A request that was given up may reach the
// server late, so an answer that nothing is there is believed only when the lock's ttl has passed (for a lock
// that does not expire, an hour). When the client is closed it makes a last attempt.
func (h *hold) unlock() {
	patience := h.ttl
	if h.ttl == NoExpiry {
		patience = time.Hour
	}
	over := time.NewTimer(patience + h.c.opts.OpTimeout)
	defer over.Stop()
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		if h.unlockOnce() {
			return
		}
		select {
		case <-h.c.ctx.Done():
			h.unlockOnce()
			return
		case <-over.C:
			return
		case <-time.After(jittered(wait)):
		}
	}
}

func (h *hold) unlockOnce() bool {
	op, cancel := h.c.opContext(context.WithoutCancel(h.ctx))
	defer cancel()
	ok, err := h.c.store.Unlock(op, h.key, h.token)
	return ok && err == nil
}

// lock takes the lock, and tries again and again until ctx is done or wait is over. A release wakes it; a timer makes up for
// notifications that were lost and for locks that expired. Passing errors of the store do not end it.
func (c *Client) lock(ctx context.Context, key string, ttl, wait time.Duration, renew bool) (*hold, error) {
	h := c.newHold(ctx, key, ttl, renew)
	err := h.wait(ctx, wait)
	if err != nil {
		h.giveUp()
		return nil, err
	}
	return h, nil
}

func (h *hold) wait(ctx context.Context, wait time.Duration) error {
	if wait == 0 {
		return h.try(ctx)
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	err := h.try(waiting)
	if err == nil {
		return nil
	}
	changes, stop := h.c.store.Watch(h.key)
	defer stop()
	poll := time.NewTimer(jittered(pollFirst))
	defer poll.Stop()
	for pace := pollFirst; ; {
		select {
		case <-waiting.Done():
			return errors.Join(err, ctx.Err())
		case <-h.c.ctx.Done():
			return ErrClosed
		case <-changes:
		case <-poll.C:
			pace = min(2*pace, pollMax)
		}
		poll.Reset(jittered(pace))
		tryErr := h.try(waiting)
		if tryErr == nil {
			return nil
		}
		if ended(waiting) == nil { // else it says nothing about the lock
			err = tryErr
		}
	}
}
