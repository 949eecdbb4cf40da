package cachify

import (
	"context"
	"sync"
	"time"
)

const (
	orphanFor  = time.Minute            // how long to try to free an orphan
	orphanMax  = 200 * time.Millisecond // the longest pause between two attempts
	maxOrphans = 10_000                 // those beyond end by their ttl
)

// An orphan is the lease of a load that has ended, or of an attempt that failed and may have taken it all the same, which is to be
// freed so that others need not wait until it ends by its ttl. The request that took it may be waiting in a server that hangs, so
// it is tried until the server answers.
type orphan struct {
	ctx    context.Context
	flight *flight
	until  time.Time
}

// orphans are freed by one goroutine, however many a server leaves behind that hangs.
type orphans struct {
	mu      sync.Mutex
	waiting []orphan
	running bool
}

// giveUp frees leases in the background that may have been taken although the attempt failed.
func (c *Client) giveUp(ctx context.Context, lease lease, keys ...string) {
	c.freeLater(ctx, &flight{keys: keys, lease: lease.head()})
}

// freeLater frees the leases of a load in the background.
func (c *Client) freeLater(ctx context.Context, f *flight) {
	os := &c.orphans
	os.mu.Lock()
	defer os.mu.Unlock()
	if len(os.waiting) == maxOrphans {
		return
	}
	os.waiting = append(os.waiting, orphan{ctx, f, time.Now().Add(orphanFor)})
	if !os.running {
		os.running = c.spawn(c.freeOrphans)
	}
}

// freeOrphans runs until there are none or the client is closed.
func (c *Client) freeOrphans() {
	wait := probeFirst
	for o, ok := c.orphans.next(); ok; o, ok = c.orphans.next() {
		if !c.breaker.open.Load() && c.free(o.ctx, o.flight) == nil {
			wait = probeFirst
			continue
		}
		c.orphans.putBack(o)
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(jittered(wait)):
		}
		wait = min(2*wait, orphanMax)
	}
}

// next takes the next one out, without those whose time is over. If there is none, the goroutine has ended.
func (os *orphans) next() (o orphan, ok bool) {
	os.mu.Lock()
	defer os.mu.Unlock()
	now := time.Now()
	for len(os.waiting) > 0 {
		o, os.waiting = os.waiting[0], os.waiting[1:]
		if now.Before(o.until) {
			return o, true
		}
	}
	os.waiting, os.running = nil, false
	return orphan{}, false
}

// putBack puts o behind the others: its node may be the only one that hangs.
func (os *orphans) putBack(o orphan) {
	os.mu.Lock()
	defer os.mu.Unlock()
	os.waiting = append(os.waiting, o)
}
