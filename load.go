package cachify

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"
)

const ()

// A load is a run of the function for one or more addresses, and the flight that its callers share.
type load[K, V any] struct {
	*flight
	c         *Cached[K, V]
	addresses []*address[K]
	head      []byte // of what the results may replace in the store; nil: nothing is stored
	newID     entryID
	refreshes bool // a value, for a caller of Refresh
	storeErr  error

	// What the function gave, and the entries made of it.
	values  []V
	failed  error
	encoded [][]byte
	ttls    []time.Duration
}

// newLoad makes a load whose results are not stored.
func (c *Cached[K, V]) newLoad(ctx context.Context, addresses ...*address[K]) *load[K, V] {
	return c.makeLoad(ctx, entryID{}, addresses)
}

// leasedLoad makes a load whose results replace lease, and lets others join.
func (c *Cached[K, V]) leasedLoad(ctx context.Context, lease lease, stamp int64, addresses ...*address[K]) *load[K, V] {
	l := c.makeLoad(ctx, lease.id(), addresses)
	l.newID = lease.id()
	l.head = lease.head()
	l.lease = l.head
	l.stamp = stamp
	c.client.flights.register(l.flight)
	return l
}

func (c *Cached[K, V]) makeLoad(ctx context.Context, id entryID, addresses []*address[K]) *load[K, V] {
	keys := make([]string, len(addresses))
	for i, a := range addresses {
		keys[i] = a.key
	}
	return &load[K, V]{flight: newFlight(ctx, c.client.ctx, id, c.fingerprint, keys...), c: c, addresses: addresses}
}

// lead runs a load of one address for its first caller, and returns what the function returned to it.
func (c *Cached[K, V]) lead(ctx context.Context, l *load[K, V], out *Outcome) (v V, err error) {
	out.Status = "load"
	values, err := l.do(ctx, func(ctx context.Context) ([]V, error) {
		v, err := c.fn(ctx, l.addresses[0].args)
		return []V{v}, err
	})
	if values == nil {
		return v, err // the caller did not wait for the end
	}
	if !c.opts.StoreInBackground && l.storeErr != nil {
		out.StoreErr = l.storeErr
	}
	return values[0], err
}

// do runs fn in a goroutine and waits for it with the first caller, who gets a panic of fn as a panic. If ctx
// ends first, it returns no values: fn may still be at work on them.
func (l *load[K, V]) do(ctx context.Context, fn func(context.Context) ([]V, error)) ([]V, error) {
	if !l.c.client.spawn(func() { l.run(fn) }) { // the client has just been closed
		l.c.client.flights.close(l.flight)
		l.finish()
		ctx, _ = withCall(ctx, l.c.client, nil)
		return fn(ctx)
	}
	if err := l.c.await(ctx, l.flight); err != nil {
		return nil, err
	}
	l.crash.resume()
	return l.values, l.failed
}

// run is the work of the flight. The function may panic or end the goroutine, so everything after it is deferred.
func (l *load[K, V]) run(fn func(context.Context) ([]V, error)) {
	stats := l.c.stats
	op := Operation{Name: "Load", Template: l.c.template.text()}
	if len(l.keys) == 1 {
		op.Key = l.keys[0]
	}
	ctx, end := l.c.client.traceLoad(l.ctx, op)
	ctx, cl := withCall(ctx, l.c.client, l.keys)
	if l.c.opts.LoadTimeout > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, l.c.opts.LoadTimeout, l.c.loadTimeoutError())
		defer cancel()
		ctx = limited
	}
	if l.lease != nil {
		renewal := time.AfterFunc(leaseTTL/3, func() { l.c.client.spawn(l.renewLease) })
		defer renewal.Stop()
	}
	stats.loads.Add(1)
	began := time.Now()
	returned := false
	defer func() {
		took := time.Since(began)
		stats.loadTime.Add(int64(took))
		if !returned {
			l.crash = l.c.crashed(ctx, recover())
		}
		if l.crash != nil || l.failed != nil {
			stats.loadErrors.Add(1)
		}
		out := Outcome{Err: l.failed}
		if l.crash != nil {
			out.Err = errCrashed
		}
		l.settle(cl, took)
		out.StoreErr = l.storeErr
		end(out)
	}()
	l.values, l.failed = fn(ctx)
	returned = true
}

// crashed logs a panic with its stack, which ends here, and returns it for the callers.
func (c *Cached[K, V]) crashed(ctx context.Context, value any) *crash {
	if value == nil {
		return &crash{goexit: true}
	}
	c.client.log().ErrorContext(ctx, "cachify: a cached function panicked",
		"template", c.template.text(), "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
	return &crash{value: value}
}

// renewLease keeps the lease alive for as long as the function runs. It is started for long loads only.
func (l *load[K, V]) renewLease() {
	c := l.c.client
	tick := time.NewTicker(leaseTTL / 3)
	defer tick.Stop()
	for {
		op, cancel := c.opContext(l.ctx)
		done, err := c.store.Expire(op, l.lease, leaseTTL, l.keys)
		cancel()
		if c.report(l.ctx, err) == nil && count(done, true) == 0 {
			return // all are reset or replaced
		}
		select {
		case <-l.done:
			return
		case <-l.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leave takes a caller off a flight before its end. If it was the last one, nobody waits for the load's
// result, and the lease is freed for the next caller without waiting for the function to notice.
func (c *Client) leave(f *flight) {
	if c.flights.leave(f) && f.lease != nil {
		c.spawn(func() { _ = c.free(f.ctx, f) })
	}
}

// free gives up the leases of a load that has nothing to store. If it fails, they end by their ttl.
func (c *Client) free(ctx context.Context, f *flight) error {
	ctx = context.WithoutCancel(ctx)
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, err := c.store.Delete(op, f.lease, f.keys)
	return c.report(ctx, err)
}

func (c *Cached[K, V]) withJitter(ttl time.Duration) time.Duration {
	if c.opts.Jitter == 0 || ttl == NoExpiry {
		return ttl
	}
	return max(ttl-time.Duration(rand.Float64()*c.opts.Jitter*float64(ttl)), time.Millisecond)
}
