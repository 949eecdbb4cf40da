package cachify

import (
	"context"
	"time"
)

// After this many holdings in a row, or when they have lasted this long, a process no longer hands a lease over among its own
// waiters but releases it for all.
const (
	maxRun     = 8
	maxRunTime = 100 * time.Millisecond
)

// A run is a number of holdings of one key that follow on one another within this process, each handed over by the one before.
// Other processes do not get a turn meanwhile.
type run struct {
	count int
	began time.Time
}

func (r run) next() run { return run{r.count + 1, r.began} }

func (r run) over() bool { return r.count >= maxRun || time.Since(r.began) > maxRunTime }

func (l *Lease) startRun(r run) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.run = r
}

func (l *Lease) presentRun() run {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.run
}

// handOver gives the lease, which is to be released, to the first waiter of this process, in one step in the store. ok says that
// it is no longer l's: there was such a waiter, and the turn of this process was not over.
func (l *Lease) handOver(ctx context.Context) (ok bool, err error) {
	r := l.presentRun()
	if len(l.claim.Keys) > 1 || r.over() {
		return false, nil
	}
	holder := l // or a waiter that it was handed over to, and that has given up in the meantime
	for w := l.c.queues.heir(l.Key()); w != nil; w = l.c.queues.heir(l.Key()) {
		sent, checks := time.Now(), l.c.renewals.noted()
		ok, err := w.lease.ask(ctx, holder.claim.Token)
		switch {
		case err != nil:
			l.c.queues.withdraw(w)
			return holder != l, holder.leftBehind(l, err)
		case !ok:
			l.c.queues.withdraw(w)
			return holder != l, nil
		case l.c.queues.grant(w, sent, r.next()):
			w.lease.recheck(checks)
			return true, nil
		}
		holder = w.lease
	}
	return holder != l, holder.leftBehind(l, nil)
}

// leftBehind sees to it that what holder has is given back, unless holder is l, whose own release sees to it. It then returns err,
// if that leaves open what has happened: what the store has refused it has not done.
func (holder *Lease) leftBehind(l *Lease, err error) error {
	if holder != l {
		l.c.spawn(holder.undo)
		return nil
	}
	if isReply(err) {
		return nil
	}
	return err
}

// heir gives the first waiter for key, nil if there is none, if it is trying by itself, or if somebody else is handing a lease over
// to it.
func (qs *queues) heir(key string) *waiter {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byKey[key]
	if q == nil || q.waiters[0].trying || q.waiters[0].offered {
		return nil
	}
	q.waiters[0].offered = true
	return q.waiters[0]
}

// withdraw takes back that a lease is about to be handed over to w, which may have got it all the same. If w has given up in the
// meantime, it is undone.
func (qs *queues) withdraw(w *waiter) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	w.offered = false
	if w.left {
		if w.lease.inDoubt() {
			w.lease.c.spawn(w.lease.undo)
		}
		return
	}
	select {
	case w.again <- struct{}{}:
	default:
	}
}

// grant tells w that the lease is its own. It returns false if w has given up, which leaves the lease to the caller.
func (qs *queues) grant(w *waiter, sent time.Time, r run) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	w.offered = false
	w.lease.startRun(r)
	if !w.left && w.lease.confirm(sent, w.lease.claim.TTL) {
		qs.remove(w, true, w.missed && w.lease.terms.slots > 0)
		close(w.granted)
		return true
	}
	if w.left || w.lease.isOver() {
		return false
	}
	w.lease.setDoubt() // the answer came late: w is still there, and finds its token at the next attempt
	select {
	case w.again <- struct{}{}:
	default:
	}
	return true
}
