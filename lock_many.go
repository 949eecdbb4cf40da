package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// AcquireMany takes the locks for all of args together, or none of them, in one step: so two callers that want the same locks
// can't block one another. It waits as [Lock.Acquire] does until all are free at one time, without a place in any
// queue. The one lease is for all of them. Duplicates count once; no args are an error.
//
// On Redis Cluster, all keys must belong to one slot, which takes a hash tag in the template, such as {<tenant>}; else the
// error says so.
func (l *Lock[K]) AcquireMany(ctx context.Context, args []K) (*Lease, error) {
	if len(args) == 0 {
		return nil, errors.New("cachify: AcquireMany: there is nothing to lock: give it at least one value")
	}
	keys := make([]string, len(args))
	for i, arg := range args {
		key, err := l.Key(arg)
		if err != nil {
			return nil, fmt.Errorf("cachify: AcquireMany: argument %d: %w", i, err)
		}
		keys[i] = key
	}
	slices.Sort(keys)
	keys = slices.Compact(keys)
	return l.client.acquireTraced(ctx, Operation{Name: "AcquireMany", Template: l.template.text()}, l.terms, l.wait, keys...)
}

// waitForAll waits for several locks: it tries again after each change of the first one that is held. first is what the
// attempt before gave, nil for no answer.
func (l *Lease) waitForAll(ctx, waiting context.Context, first error) error {
	last := first
	watched, changes, stop := "", (<-chan struct{})(nil), func() {}
	defer func() { stop() }()
	for pause := pollFirst; ; pause = min(2*pause, maxPoll) {
		if taken := untilDone(waiting, l.c, func() string { return l.firstTaken(waiting) }); taken != watched {
			stop()
			watched, changes, stop = taken, nil, func() {}
			if taken != "" {
				changes, stop = l.c.store.Watch(taken)
			}
		}
		if watched != "" {
			pause = l.pollTime()
		}
		if err := l.awaitChange(waiting, changes, pause); err != nil {
			return err
		}
		if ended(waiting) == nil {
			err := l.attempt(waiting)
			if err == nil || isPermanent(err) {
				return err
			}
			if ended(waiting) == nil {
				last = err
			}
		}
		if ended(waiting) != nil {
			if last == nil {
				last = l.noAnswer()
			}
			return errors.Join(last, ended(ctx))
		}
	}
}

// firstTaken gives the first of the locks that somebody holds. It gives none if all have become free or if that can't be told.
func (l *Lease) firstTaken(ctx context.Context) string {
	op, cancel := l.c.opContext(ctx)
	defer cancel()
	tokens, _, err := l.c.store.Get(op, l.claim.Keys, nil, nil)
	if l.report(ctx, err) != nil {
		return ""
	}
	for i, token := range tokens {
		if token != nil {
			return l.claim.Keys[i]
		}
	}
	return ""
}

// awaitChange waits until changes receives, or for about as long as pause. It returns an error if the client is closed.
func (l *Lease) awaitChange(ctx context.Context, changes <-chan struct{}, pause time.Duration) error {
	timer := time.NewTimer(jittered(pause))
	defer timer.Stop()
	select {
	case <-changes:
	case <-timer.C:
	case <-ctx.Done():
	case <-l.c.ctx.Done():
		return ErrClosed
	}
	return nil
}
