package cachify

import (
	"context"
	"errors"
	"time"
)

// How old a value is that was found in the store.
type age int

const (
	isFresh   age = iota
	isAgeing      // near the end of its time to live
	isExpired     // past it, but kept for CachedOptions.MaxStale
)

// softExpiry is when the time to live ends of an entry that was created at that time, in microseconds since 1970; 0 is never.
func softExpiry(created int64, ttl time.Duration) int64 {
	if ttl == NoExpiry {
		return 0
	}
	return created + ttl.Microseconds()
}

// keepFor is how long an entry of that time to live stays in the store.
func (c *Cached[K, V]) keepFor(ttl time.Duration) time.Duration {
	if ttl == NoExpiry {
		return NoExpiry
	}
	return ttl + c.opts.MaxStale
}

// ages says whether a hit gives rise to anything in the background.
func (c *Cached[K, V]) ages() bool {
	return c.opts.RefreshAhead > 0 || c.opts.MaxStale > 0 || c.touches != nil
}

// age tells how old a value is, by this machine's clock and that of the one that stored it.
func (c *Cached[K, V]) age(f *found) age {
	if f.softExpiry == 0 || c.opts.RefreshAhead == 0 && c.opts.MaxStale == 0 {
		return isFresh
	}
	left := f.softExpiry - time.Now().UnixMicro()
	switch {
	case left <= 0 && c.opts.MaxStale > 0:
		return isExpired
	case float64(left) < c.opts.RefreshAhead*float64(f.softExpiry-f.created):
		return isAgeing
	}
	return isFresh
}

// hit is what becomes of a value that was found in the store, or of an error that is remembered there.
func (c *Cached[K, V]) hit(ctx context.Context, a *address[K], f *found, v V, out *Outcome) (V, error) {
	out.Status = "hit"
	c.stats.hits.Add(1)
	if f.negative != nil {
		return v, f.negative
	}
	if c.serve(ctx, a, f) == isExpired {
		return c.stale(ctx, a, f, v, out), nil
	}
	return v, nil
}

// serve does in the background what a hit gives rise to, and tells how old the value is. To load an expired one is left to the caller.
func (c *Cached[K, V]) serve(ctx context.Context, a *address[K], f *found) age {
	age := c.age(f)
	if age == isAgeing {
		c.refreshBehind(ctx, a, f)
	}
	if c.touches != nil {
		c.touch(ctx, a.key, f)
	}
	return age
}

// stale has an expired value loaded anew, and gives the new value if that is there soon enough, else the expired one.
func (c *Cached[K, V]) stale(ctx context.Context, a *address[K], f *found, old V, out *Outcome) V {
	s := c.refreshBehind(ctx, a, f)
	if s.flight != nil && c.opts.SoftLoadTimeout > 0 {
		patience := time.NewTimer(c.opts.SoftLoadTimeout)
		defer patience.Stop()
		select {
		case <-s.done:
		case <-patience.C:
		case <-ctx.Done():
		}
		if v, ok := c.refreshed(a, s); ok {
			return v
		}
	}
	out.Status = "stale"
	c.stats.stale.Add(1)
	return old
}

// refreshed gives the value of a refresh, if it has one by now.
func (c *Cached[K, V]) refreshed(a *address[K], s place) (v V, ok bool) {
	select {
	case <-s.done:
	default:
		return v, false
	}
	if s.err != nil || s.crash != nil || len(s.entries) == 0 {
		return v, false
	}
	e, _ := parseEnvelope(s.entries[s.index])
	return v, e.decode(c.codec, a.key, &v) == nil
}

// refreshBehind has a value refreshed in the background, unless that is under way in this process. The flight goes by the id
// of the value that it replaces.
func (c *Cached[K, V]) refreshBehind(ctx context.Context, a *address[K], f *found) place {
	if c.client.breaker.open.Load() || loading(ctx, c.client, a.key) {
		return place{}
	}
	var l *load[K, V]
	suits := func(other *flight) bool { return fresh(other.stamp, f.stamps) }
	s, started := c.client.flights.joinOrStart(flightKey{a.key, f.id, c.fingerprint}, suits, func() *flight {
		l = c.makeLoad(ctx, f.id, []*address[K]{a})
		l.head, l.stamp, l.newID = f.head, f.stamps[0], newID()
		l.shared = true // by this caller, beside the background itself
		return l.flight
	})
	if started && !c.client.spawn(func() { c.runBehind(l) }) {
		c.client.flights.close(l.flight)
		l.finish()
	}
	return s
}

// runBehind runs a refresh if no other process does. After a failure the lease stays until it ends, so that the next try is not at once.
func (c *Cached[K, V]) runBehind(l *load[K, V]) {
	lease, err := c.client.acquire(l.ctx, l.ctx, &refreshTerms, 0, c.refreshKey(l.keys[0]))
	if err != nil {
		l.err = err
		c.client.flights.close(l.flight)
		l.finish()
		return
	}
	defer func() {
		if l.err == nil && l.crash == nil {
			_ = lease.release(context.WithoutCancel(l.ctx))
		} else {
			_ = lease.keep()
		}
	}()
	c.stats.refreshes.Add(1)
	l.run(func(ctx context.Context) ([]V, error) {
		v, err := c.fn(ctx, l.addresses[0].args)
		return []V{v}, err
	})
}

// refreshTerms are those of the lease that one process of all takes to refresh a value.
var refreshTerms = terms{ttl: leaseTTL, renew: true, taken: errRefreshing, stats: new(counters)} // which nobody reads: it is no lock of a user

var errRefreshing = errors.New("cachify: another process refreshes the value")

// refreshKey is the key of that lease.
func (c *Cached[K, V]) refreshKey(key string) string {
	return c.client.opts.Prefix + "refresh:" + key[len(c.prefix):]
}
