package cachify

import (
	"context"
	"time"
)

const (
	// leaseTTL is how long a lease outlives its last renewal. With the poll below it bounds how long
	// callers wait for a load whose process has died: well under two seconds.
	leaseTTL = 1500 * time.Millisecond

	// pollFirst and pollMax are the pace at which a waiter looks for itself. It is woken by a notification long before,
	// unless that was lost or the lease has expired.
	pollFirst = 20 * time.Millisecond
	pollMax   = 250 * time.Millisecond
)

// awaitLease is the work of a flight that waits for a load of another process: it finishes when the lease is no longer at
// the key, with what is there instead. What it reads then, it reads after all its callers have started: each of them
// saw the lease before it went, and a lease does not come back.
func (c *Client) awaitLease(f *flight, tags []string) {
	defer f.finish()
	defer c.flights.close(f)
	key := f.keys[0]
	changes, stop := c.store.Watch(key)
	defer stop()
	timer := time.NewTimer(jittered(pollFirst))
	defer timer.Stop()
	for poll := pollFirst; ; {
		select {
		case <-f.ctx.Done():
			return
		case <-changes:
		case <-timer.C:
			poll = min(2*poll, pollMax)
		}
		timer.Reset(jittered(poll))
		data, stamps, err := c.readOne(f.ctx, key, tags)
		if err != nil {
			f.storeErr, f.failedAt = err, time.Now()
			return
		}
		if data == nil {
			return
		}
		if e, ok := parseEnvelope(data); ok && e.flags&flagLease != 0 {
			if e.id == f.id {
				continue
			}
			return
		}
		f.entries, f.stamps = [][]byte{data}, stamps
		return
	}
}

func (c *Client) readOne(ctx context.Context, key string, tags []string) ([]byte, []int64, error) {
	op, cancel := c.opContext(ctx)
	defer cancel()
	values, stamps, err := c.store.Get(op, []string{key}, tags, nil)
	if c.report(ctx, err) != nil {
		return nil, nil, err
	}
	return values[0], stamps, nil
}
