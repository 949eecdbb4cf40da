package cachify

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxLeaseWaits is how many loads of other processes a Get waits for in vain, because they failed or were reset or
// not to be stored, before it loads for itself. So where nothing can be stored, callers do not queue.
const maxLeaseWaits = 3

// get is the read path. Each turn of its loop is one round trip that finds the value, or takes the lease, or sees
// whose lease is there.
func (c *Cached[K, V]) get(ctx context.Context, a *address[K], out *Outcome) (v V, err error) {
	start := time.Now()
	missed := false
	for now, waits := start, 0; ; now = time.Now() {
		switch {
		case ctx.Err() != nil:
			return v, ctx.Err()
		case c.client.breaker.open.Load() || c.client.isClosed():
			return c.bypass(ctx, a, out, time.Time{})
		case waits == maxLeaseWaits || c.client.retries.holds(a.key, a.tags):
			return c.bypass(ctx, a, out, start)
		}
		lease := c.newLease(now)
		f, err := c.look(ctx, now, a, lease, &v)
		if err != nil {
			return c.failOpen(ctx, a, out, start, err)
		}
		if f.what == isValue {
			return c.hit(ctx, a, &f, v, out)
		}
		if !missed {
			missed = true
			c.stats.misses.Add(1)
		}
		if f.what == isVacant {
			return c.lead(ctx, c.leasedLoad(ctx, lease, f.stamps[0], a), out)
		}
		if f.what == isLease {
			if loading(ctx, c.client, a.key) {
				return c.bypass(ctx, a, out, time.Now())
			}
			if s := c.join(ctx, a, f.id, f.stamps); s.flight != nil {
				v, again, err := c.share(ctx, a, s, out)
				if !again {
					return v, err
				}
				waits++
				continue
			}
		}
		if err := c.remove(ctx, a.key, f.head); err != nil {
			return c.failOpen(ctx, a, out, start, err)
		}
	}
}

// A found is what a caller saw at a key.
type found struct {
	what   finding
	id     entryID
	head   []byte
	stamps []int64

	// Of a value:
	created    int64
	softExpiry int64
	negative   error // the error that is remembered in its place
}

// look reads the entry into v, or takes the lease if nothing is there, which it then says.
func (c *Cached[K, V]) look(ctx context.Context, now time.Time, a *address[K], lease lease, v *V) (found, error) {
	ticket := c.nearTicket(a.key)
	data, stamps, err := c.takeLease(ctx, now, lease, a, ticket.ttl)
	if err != nil || data == nil {
		return found{what: isVacant, stamps: stamps}, err
	}
	e, what, err := c.read(ctx, a, data, stamps, v)
	if what == isValue && err == nil {
		c.keepNear(ticket, a, &e, data, max(e.stamp, stamps[0]), v)
	}
	if what == isLease && e.id == lease.id() {
		what = isVacant // the attempt that took it lost its reply
	}
	f := found{what: what, id: e.id, head: data[:min(headSize, len(data))], stamps: stamps, created: e.created, softExpiry: e.softExpiry}
	if what == isValue && e.flags&flagNegative != 0 {
		f.negative = c.negativeIn(&e)
	}
	return f, err
}

// What a key was found to hold.
type finding int

const (
	isVacant  finding = iota // nothing, or by now the caller's own lease
	isValue                  // a value that may be given out, or an error that is remembered
	isLease                  // the lease of a load
	isStale                  // a value of this wrapper that a reset of tags has outrun
	isForeign                // anything else: of another format, type or template, or damaged
)

// read makes out what data is, and decodes a value that may be given out into v.
func (c *Cached[K, V]) read(ctx context.Context, a *address[K], data []byte, stamps []int64, v *V) (envelope, finding, error) {
	e, what := c.identify(data)
	if what != isValue {
		return e, what, nil
	}
	ok, err := c.client.freshEntry(ctx, &e, a.tags, stamps)
	if !ok || err != nil {
		return e, isStale, err
	}
	return e, c.decode(ctx, a, &e, v), nil
}

// identify makes out what data is, except for what resets of tags may have made of it.
func (c *Cached[K, V]) identify(data []byte) (envelope, finding) {
	e, ok := parseEnvelope(data)
	switch {
	case !ok:
		return e, isForeign
	case e.flags&flagLease != 0:
		return e, isLease
	case e.fingerprint != c.fingerprint || e.flags&flagNegative != 0 && c.negativeIn(&e) == nil:
		return e, isForeign
	}
	return e, isValue
}

// decode sets v to the value of an entry; for an error that is remembered it leaves v as it is.
func (c *Cached[K, V]) decode(ctx context.Context, a *address[K], e *envelope, v *V) finding {
	if e.flags&flagNegative != 0 {
		return isValue
	}
	if err := e.decode(c.codec, a.key, v); err != nil {
		var zero V
		*v = zero // of what was decoded before the error
		c.client.warnOnce(ctx, "cachify: a stored value can't be decoded and is loaded anew", c.template.text(), err)
		return isForeign
	}
	return isValue
}

func (c *Cached[K, V]) newLease(now time.Time) lease {
	e := envelope{flags: flagLease, id: newID(), created: now.UnixMicro(), fingerprint: c.fingerprint}
	return e.bytes()
}

// takeLease reads the entry and its tags' stamps, or takes the lease if nothing is there, in one round trip.
func (c *Cached[K, V]) takeLease(ctx context.Context, now time.Time, lease lease, a *address[K], left []time.Duration) ([]byte, []int64, error) {
	op, cancel := c.client.opContextFrom(ctx, now)
	defer cancel()
	values, stamps, err := c.client.store.Lease(op, lease, leaseTTL, []string{a.key}, a.tags, left)
	if c.report(ctx, err) == nil {
		err = c.client.ensureStamp(ctx, stamps)
	}
	if err != nil {
		if !onlyRead(err) {
			c.client.giveUp(ctx, lease, a.key)
		}
		return nil, nil, err
	}
	return values[0], stamps, nil
}

// remove takes away what begins with head, if that is still there: a value that is no use, or the lease of a load that
// has been outrun.
func (c *Cached[K, V]) remove(ctx context.Context, key string, head []byte) error {
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	_, err := c.client.store.Delete(op, head, []string{key})
	return c.report(ctx, err)
}

// join finds a place for a caller that has just read the lease id and stamps: in the load, if that is of this process, or
// else in the wait for it. It gives no place in a load that began before one of the caller's tags was reset.
func (c *Cached[K, V]) join(ctx context.Context, a *address[K], id entryID, stamps []int64) place {
	suits := func(f *flight) bool { return f.waiting || fresh(f.stamp, stamps) }
	s, started := c.client.flights.joinOrStart(flightKey{a.key, id, c.fingerprint}, suits, func() *flight {
		f := newFlight(ctx, c.client.ctx, id, c.fingerprint, a.key)
		f.waiting = true
		return f
	})
	if started && !c.client.spawn(func() { c.client.awaitLease(s.flight, a.tags) }) {
		c.client.flights.close(s.flight)
		s.finish()
	}
	return s
}

// share waits for the end of the work and gives a caller its value. again means that it has to go to the store once more.
func (c *Cached[K, V]) share(ctx context.Context, a *address[K], s place, out *Outcome) (v V, again bool, err error) {
	out.Status = "wait"
	c.stats.waits.Add(1)
	if err := c.await(ctx, s.flight); err != nil {
		return v, false, err
	}
	switch {
	case s.crash != nil:
		return v, false, s.crash.waiterError(c.template.text())
	case s.errorOf(s.index) != nil:
		return v, false, s.errorOf(s.index)
	case s.storeErr != nil: // the timeout is paid; whoever waited had started by then
		v, err = c.failOpen(ctx, a, out, s.failedAt, s.storeErr)
		return v, false, err
	case len(s.entries) > 0 && s.entries[s.index] != nil:
	case s.alone:
		v, err = c.runAlone(ctx, a.args)
		return v, false, err
	default:
		return v, true, nil
	}
	data := s.entries[s.index]
	if s.waiting {
		e, found, err := c.read(ctx, a, data, s.stamps, &v)
		if found != isValue || err != nil {
			return v, true, nil
		}
		if e.flags&flagNegative != 0 {
			return v, false, c.negativeIn(&e)
		}
		return v, false, nil
	}
	e, _ := parseEnvelope(data)
	return v, e.decode(c.codec, a.key, &v) != nil, nil
}

// bypass serves a caller without the store. Callers of this process share a flight, but not one that began before
// notBefore: a caller whose own operation has failed may have started after a Reset that another process could do.
func (c *Cached[K, V]) bypass(ctx context.Context, a *address[K], out *Outcome, notBefore time.Time) (v V, err error) {
	c.stats.bypasses.Add(1)
	if c.client.isClosed() || loading(ctx, c.client, a.key) {
		out.Status = "bypass"
		return c.runAlone(ctx, a.args)
	}
	l := c.newLoad(ctx, a)
	s, started := c.client.flights.joinOrStart(flightKey{key: a.key, print: c.fingerprint}, func(f *flight) bool { return !f.began.Before(notBefore) }, func() *flight { return l.flight })
	if s.flight == nil {
		c.client.flights.register(l.flight)
		started = true
	}
	if !started {
		l.flight.cancel(nil)
		v, again, err := c.share(ctx, a, s, out)
		out.Status = "bypass"
		if again {
			return c.runAlone(ctx, a.args)
		}
		return v, err
	}
	v, err = c.lead(ctx, l, out)
	out.Status = "bypass"
	return v, err
}

// runAlone runs the function for one caller, in its goroutine. What the function decides with SetTTL and the like is
// for nobody, and not for a run that this one is made in.
func (c *Cached[K, V]) runAlone(ctx context.Context, args K) (V, error) {
	ctx, _ = withCall(ctx, c.client, nil)
	return c.fn(ctx, args)
}

// failOpen is what get does when the store fails it: it serves the caller without the store.
func (c *Cached[K, V]) failOpen(ctx context.Context, a *address[K], out *Outcome, start time.Time, cause error) (v V, err error) {
	if err := ended(ctx); err != nil {
		return v, err
	}
	out.StoreErr = cause
	return c.bypass(ctx, a, out, start)
}

// await waits for a flight to finish. A caller that has waited for ctx or LoadTimeout leaves it.
func (c *Cached[K, V]) await(ctx context.Context, f *flight) error {
	if c.opts.LoadTimeout > 0 {
		patient, cancel := context.WithTimeoutCause(ctx, c.opts.LoadTimeout, c.loadTimeoutError())
		defer cancel()
		ctx = patient
	}
	err := f.wait(ctx)
	if err == nil {
		return nil
	}
	c.client.leave(f)
	if cause := context.Cause(ctx); errors.Is(cause, errLoadTimeout) {
		return cause
	}
	return err
}

var errLoadTimeout = fmt.Errorf("LoadTimeout is over: %w", context.DeadlineExceeded)

func (c *Cached[K, V]) loadTimeoutError() error {
	return fmt.Errorf("cachify: the function of %q has run for %v: %w", c.template.text(), c.opts.LoadTimeout, errLoadTimeout)
}
