package cachify

import (
	"context"
	"sync"
	"time"
)

// An opCtx is the ctx of one operation on the store: it ends with the caller's, or at a deadline of its own. It does what
// [context.WithTimeout] does, for operations that take microseconds and hardly ever reach their deadline: what costs
// something it does only when somebody asks for Done, and all operations of a client share one timer.
type opCtx struct {
	context.Context // the caller's
	deadline        time.Time
	deadlines       *deadlines

	mu     sync.Mutex
	err    error
	done   chan struct{} // nil: nobody has asked
	glance bool          // the next who asks does not wait
	leave  func() bool   // ends the wait for the caller's ctx; nil: there is none

	before, after *opCtx // in deadlines, whose mutex guards them
}

// opContext bounds an operation on the store by OpTimeout as well as by ctx. Of a caller's deadline it leaves half to the
// function, so that a store that hangs does not use all of it up, unless that would be too short for the store.
func (c *Client) opContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return c.opContextFrom(ctx, time.Now())
}

// opContextFrom is opContext with the time at hand.
func (c *Client) opContextFrom(ctx context.Context, now time.Time) (context.Context, context.CancelFunc) {
	timeout := c.opts.OpTimeout
	if deadline, ok := ctx.Deadline(); ok {
		half := deadline.Sub(now) / 2
		if half < timeout/10 {
			return context.WithCancel(ctx) // which ends long before timeout is over
		}
		timeout = min(timeout, half)
	}
	if inBubble(now) != c.deadlines.bubble {
		return context.WithTimeout(ctx, timeout)
	}
	o := &opCtx{Context: ctx, deadline: now.Add(timeout), deadlines: &c.deadlines}
	return o, o.release
}

// Deadline implements [context.Context].
func (o *opCtx) Deadline() (time.Time, bool) { return o.deadline, true }

// Done implements [context.Context].
func (o *opCtx) Done() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.awaitLocked()
	if o.glance {
		o.glance = false
	} else if o.leave == nil && o.err == nil && o.Context.Done() != nil {
		o.leave = context.AfterFunc(o.Context, func() { o.end(o.Context.Err()) })
	}
	return o.done
}

// Glance says that the next call of Done only looks whether o has ended and does not wait for it; whoever waits calls
// Done again. To join the end of the caller's ctx, which a look does not need, is the dearest part of Done. A
// wait in spite of this ends at the deadline.
func (o *opCtx) Glance() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.glance = true
}

// Err implements [context.Context]. It goes by the clock, since the timer may be late.
func (o *opCtx) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.Context.Err(); err != nil {
		o.endLocked(err)
	} else if !time.Now().Before(o.deadline) {
		o.endLocked(context.DeadlineExceeded)
	}
	return o.err
}

// awaitLocked sees to it that done is closed when o ends.
func (o *opCtx) awaitLocked() {
	if o.done != nil {
		return
	}
	if err := o.Context.Err(); err != nil {
		o.endLocked(err)
	}
	o.done = make(chan struct{})
	if o.err != nil {
		close(o.done)
	} else {
		o.deadlines.add(o)
	}
}

// release is o's [context.CancelFunc].
func (o *opCtx) release() { o.end(context.Canceled) }

func (o *opCtx) end(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.endLocked(err)
}

// endLocked ends o with err, unless it has ended already.
func (o *opCtx) endLocked(err error) {
	if o.err != nil {
		return
	}
	if o.err = err; o.done == nil {
		return
	}
	close(o.done)
	o.deadlines.remove(o)
	if o.leave != nil {
		o.leave()
	}
}

// deadlines ends operations at their deadlines. Its timer is set for the first of them, and is left alone when that
// operation ends: when it rings, it is set for what is the first one then. So while operations follow each other it rings
// about once in the time that one of them has, and once more when there are no more.
type deadlines struct {
	bubble bool // the client was made in a bubble of testing/synctest

	mu    sync.Mutex
	ring  opCtx // of the operations that somebody waits for, by deadline; itself stands for none
	timer *time.Timer
	rings time.Time // zero: the timer is not set
}

// add seeks o's place from the end, since deadlines mostly come in order.
func (d *deadlines) add(o *opCtx) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ring.after == nil {
		d.ring.before, d.ring.after = &d.ring, &d.ring
	}
	at := d.ring.before
	for at != &d.ring && o.deadline.Before(at.deadline) {
		at = at.before
	}
	o.before, o.after = at, at.after
	o.before.after, o.after.before = o, o
	if d.rings.IsZero() || o.deadline.Before(d.rings) {
		d.setLocked(o.deadline)
	}
}

func (d *deadlines) remove(o *opCtx) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.removeLocked(o)
}

func (d *deadlines) removeLocked(o *opCtx) {
	if o.after != nil {
		o.before.after, o.after.before = o.after, o.before
		o.before, o.after = nil, nil
	}
}

// expire is the work of the timer.
func (d *deadlines) expire() {
	for _, o := range d.expired() {
		_ = o.Err() // sees that the time is over, or that the caller's ctx has ended before
	}
}

// expired takes out the operations whose deadline has passed, and sets the timer for the next.
func (d *deadlines) expired() (over []*opCtx) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	o := d.ring.after
	for o != &d.ring && !now.Before(o.deadline) {
		d.removeLocked(o)
		over = append(over, o)
		o = d.ring.after
	}
	d.rings = time.Time{}
	if o != &d.ring {
		d.setLocked(o.deadline)
	}
	return over
}

func (d *deadlines) setLocked(rings time.Time) {
	d.rings = rings
	if d.timer == nil {
		d.timer = time.AfterFunc(time.Until(rings), d.expire)
	} else {
		d.timer.Reset(time.Until(rings))
	}
}

// stop spares a client that is used no more the last ring.
func (d *deadlines) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil && d.ring.after == &d.ring {
		d.timer.Stop()
		d.rings = time.Time{}
	}
}

// inBubble says whether now was read in a bubble of testing/synctest, where times have no monotonic reading. A timer or
// channel of a bubble must not be touched outside of it. So in a bubble a client from outside, as one at package
// scope is, makes a timer for each operation.
func inBubble(now time.Time) bool { return now == now.Round(0) }
