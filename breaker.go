package cachify

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// breakerThreshold is how many operations in a row fail before the breaker opens.
	breakerThreshold = 3

	probeFirst = 50 * time.Millisecond
	probeMax   = time.Second
)

// A breaker is a circuit breaker over a client's store. While it is open, cached functions leave the store
// alone, so that an outage costs them no timeouts. It closes by a probe in the background, never by
// a caller's operation.
type breaker struct {
	failures atomic.Int32
	open     atomic.Bool
}

// report tells the breaker how an operation of a caller with ctx ended, and returns err.
func (c *Client) report(ctx context.Context, err error) error {
	return c.reportTo(&c.stats, ctx, err)
}

// report is [Client.report] for an operation of the wrapper.
func (c *Cached[K, V]) report(ctx context.Context, err error) error {
	return c.client.reportTo(c.stats, ctx, err)
}

// report is [Client.report] for an operation on a lease.
func (l *Lease) report(ctx context.Context, err error) error {
	return l.c.reportTo(l.terms.stats, ctx, err)
}

func (c *Client) reportTo(stats *counters, ctx context.Context, err error) error {
	switch {
	case err == nil || isReply(err):
		if c.breaker.failures.Load() != 0 {
			c.breaker.failures.Store(0)
		}
	case isRepeated(err): // one failure, whatever number of calls it has met
	case ended(ctx) == nil: // else it is the caller who ended it, which says nothing about the store
		c.failed(err)
	}
	if err != nil {
		stats.storeErrors.Add(1)
	}
	return err
}

// ended returns ctx's error, also in the moment in which its deadline has passed but its timer is yet to run: connections
// measure deadlines for themselves, and may be the first to notice.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return nil
}

// isReply says whether err is an answer of the server. A server that answers, if only that it will not, is not down,
// and costs no timeout.
func isReply(err error) bool {
	var reply redis.Error
	return errors.As(err, &reply)
}

func (c *Client) failed(err error) {
	if c.breaker.failures.Add(1) < breakerThreshold || !c.breaker.open.CompareAndSwap(false, true) {
		return
	}
	c.log().Warn("cachify: the store fails; cached functions run without it until it answers", "error", err)
	c.stats.outages.Add(1)
	c.spawn(c.probe)
}

// probe asks the store for next to nothing until it answers, then closes the breaker.
func (c *Client) probe() {
	for wait := probeFirst; ; wait = min(2*wait, probeMax) {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(jittered(wait)):
		}
		op, cancel := c.opContext(c.ctx)
		_, _, err := c.store.Get(op, nil, []string{c.stampKey}, nil)
		cancel()
		if err == nil || isReply(err) {
			c.breaker.failures.Store(0)
			c.breaker.open.Store(false)
			c.log().Info("cachify: the store answers again")
			return
		}
	}
}

// jittered returns a random duration between half of d and d, so that processes do not act in step.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
