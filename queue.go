package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// maxPoll bounds how long a waiter can miss that a lock has become free, if its holder died or the notification was lost.
const maxPoll = time.Second

// queues holds the waiters of this process, by key. Waiters of one key are served first come first served, and only the
// first of them talks to the store.
type queues struct {
	mu    sync.Mutex
	byKey map[string]*queue
}

type queue struct {
	waiters []*waiter
	changes <-chan struct{} // of the key
	stop    func()          // ends changes

	last error // what the last attempt of a first waiter gave

	turns turns
}

// A waiter is a place in a queue. Whoever takes a waiter out of the queue, under queues.mu, decides what becomes of it.
type waiter struct {
	lease   *Lease
	queue   *queue
	first   chan bool     // receives when the waiter has become the first, and says whether it is to try at once
	granted chan struct{} // closed when the holder before it has handed its lease over

	// Guarded by queues.mu. Not both of the first two are true: what a waiter takes by itself while a lease is handed over to it
	// would be one too many.
	trying  bool          // an attempt of its own is under way
	offered bool          // a holder is about to hand its lease over
	missed  bool          // it did not try, because of that
	again   chan struct{} // receives when it may try after all
	left    bool          // it is no longer in the queue
}

// has says whether anybody waits for key.
func (qs *queues) has(key string) bool {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	return qs.byKey[key] != nil
}

// wait waits for l in the queue of its key, until waiting is done, which is ctx or a child of it. first is what its attempt
// before gave, if it made one.
func (qs *queues) wait(ctx, waiting context.Context, l *Lease, first error) error {
	w := qs.join(l, first)
	err := w.wait(waiting)
	if left := qs.leave(w, err == nil); !left { // the lease has been handed over in the meantime
		return nil
	}
	if err != nil && ended(waiting) != nil {
		err = errors.Join(qs.lastError(w), ended(ctx))
	}
	return err
}

func (qs *queues) join(l *Lease, first error) *waiter {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byKey[l.Key()]
	switch {
	case q == nil:
		q = &queue{last: first}
		q.changes, q.stop = l.c.store.Watch(l.Key())
		if qs.byKey == nil {
			qs.byKey = make(map[string]*queue)
		}
		qs.byKey[l.Key()] = q
	case l.inDoubt():
		l.renounce() // or those before it would wait for what it has without knowing, and it for them
	}
	w := &waiter{lease: l, queue: q, first: make(chan bool, 1), granted: make(chan struct{}), again: make(chan struct{}, 1)}
	q.waiters = append(q.waiters, w)
	if len(q.waiters) == 1 {
		w.first <- false // the notification that notifications begin makes it try
	}
	return w
}

// leave takes w out of its queue, if it is still there, and passes its turn on. acquired says that it has got its lease
// from the store.
func (qs *queues) leave(w *waiter, acquired bool) (left bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	// A semaphore may have another slot. Where w has given up, an attempt of its may have been the answer to a
	// notification.
	return qs.remove(w, acquired, !acquired || w.lease.terms.slots > 0)
}

// remove needs qs.mu. tryNow is for who is the first then.
func (qs *queues) remove(w *waiter, holds, tryNow bool) (left bool) {
	if w.left {
		return false
	}
	w.left = true
	q := w.queue
	if holds {
		q.turns.taken()
		q.last = w.lease.takenError() // for those who go on waiting
	}
	i := slices.Index(q.waiters, w)
	q.waiters = slices.Delete(q.waiters, i, i+1)
	switch {
	case len(q.waiters) == 0:
		q.stop()
		delete(qs.byKey, w.lease.Key())
	case i == 0:
		q.waiters[0].first <- tryNow
	}
	return true
}

// lastError is what a waiter gets whose time is over: the first waiter's last attempt speaks for all.
func (qs *queues) lastError(w *waiter) error {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if w.queue.last == nil {
		return w.lease.noAnswer()
	}
	return w.queue.last
}

func (l *Lease) noAnswer() error {
	return fmt.Errorf("cachify: acquire %s: the store has not answered in the time there was to wait", l.Key())
}

func (w *waiter) wait(waiting context.Context) error {
	select {
	case <-w.granted:
		return nil
	case tryNow := <-w.first:
		return w.waitAsFirst(waiting, tryNow)
	case <-waiting.Done():
		return waiting.Err()
	case <-w.lease.c.ctx.Done():
		return ErrClosed
	}
}

// waitAsFirst tries again after each change of the key. A timer makes up for notifications that were lost and for holders that died.
func (w *waiter) waitAsFirst(waiting context.Context, tryNow bool) error {
	l := w.lease
	timer := time.NewTimer(l.pollTime())
	defer timer.Stop()
	failures, timed, standingBack := 0, false, false
	for ; ; tryNow = false {
		if !tryNow {
			select {
			case <-w.granted:
				return nil
			case <-waiting.Done():
				return waiting.Err()
			case <-l.c.ctx.Done():
				return ErrClosed
			case <-w.queue.changes:
				timed = false
				l.c.queues.released(w.queue)
			case <-w.again:
				timed = false
			case <-timer.C:
				timed = !standingBack
			}
		}
		pause, ok := l.c.queues.begin(w)
		if standingBack = pause > 0; standingBack {
			timer.Reset(pause)
			continue
		}
		if !ok {
			continue // granted or again tells how it ends
		}
		err := l.attempt(waiting)
		l.c.queues.tried(w)
		if err == nil || isPermanent(err) {
			return err
		}
		if ended := ended(waiting); ended != nil {
			return ended // err says nothing about the lock
		}
		l.c.queues.note(w.queue, err)
		switch {
		case !errors.Is(err, l.terms.taken):
			timer.Reset(jittered(min(pollFirst<<failures, maxPoll)))
			failures = min(failures+1, 10)
		case timed:
			failures = 0
			timer.Reset(untilDone(waiting, l.c, func() time.Duration { return l.pollLeft(waiting) }))
		default:
			failures = 0
			timer.Reset(l.pollTime())
		}
	}
}

// begin says whether w may try by itself, or for how long it has to stand back before that.
func (qs *queues) begin(w *waiter) (pause time.Duration, ok bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if pause = time.Until(w.queue.turns.notBefore); pause > 0 {
		return pause, false
	}
	w.trying, w.missed = !w.offered, w.offered
	return 0, w.trying
}

// tried is called when an attempt of w is over.
func (qs *queues) tried(w *waiter) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	w.trying = false
}

// released is called when q has been told of a change of its key.
func (qs *queues) released(q *queue) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q.turns.release()
}

// pollTime is when to look again after a failed attempt, if nothing is known about the holder.
func (l *Lease) pollTime() time.Duration {
	if l.claim.TTL == NoExpiry {
		return jittered(maxPoll)
	}
	return jittered(min(l.claim.TTL, maxPoll))
}

// pollLeft asks for how long the present holder can go on without renewal, and gives when to look again.
func (l *Lease) pollLeft(ctx context.Context) time.Duration {
	_, left, err := l.c.holders(ctx, l.Key(), l.terms.slots > 0)
	soonest := maxPoll
	for _, d := range left {
		if d != NoExpiry {
			soonest = min(soonest, d)
		}
	}
	if err != nil || soonest == maxPoll {
		return jittered(maxPoll)
	}
	return soonest + jittered(soonest/10+time.Millisecond) // when it has expired
}

// note keeps what an attempt of the first waiter gave.
func (qs *queues) note(q *queue, err error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q.last = err
}
