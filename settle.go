package cachify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// settle brings the results to the store and to the callers, and frees the leases of keys that there is nothing to store for.
func (l *load[K, V]) settle(cl *call, took time.Duration) {
	later := func() {}
	defer func() { later() }()
	defer l.finish()
	flights := &l.c.client.flights
	if flights.abandoned(l.flight) {
		return // the lease has been freed already
	}
	l.err = l.failed
	_, wanted, added := cl.decided(l.c.opts.TTL)
	if wanted && l.head != nil && l.crash == nil {
		l.encode(cl, took, added)
	}
	stored := l.storable()
	l.freeOthers(stored)
	switch {
	case len(stored) == 0:
	case l.c.opts.StoreInBackground:
		later = func() { l.store(stored, added) }
	default:
		l.store(stored, added)
	}
	if shared := flights.close(l.flight); !shared || l.crash != nil || l.failed != nil && !l.batch {
		return
	}
	if l.encoded == nil {
		l.encode(cl, took, added)
	}
	if l.freshFor(added) {
		l.entries = l.encoded
	}
}

// encode makes the entries of the results, and of errors to remember. A value that can't be encoded has none: each caller runs
// the function for itself.
func (l *load[K, V]) encode(cl *call, took time.Duration, tags []string) {
	l.encoded, l.ttls = make([][]byte, len(l.keys)), make([]time.Duration, len(l.keys))
	ttl, _, _ := cl.decided(l.c.opts.TTL)
	negativeTTL, _, _ := cl.decided(l.c.opts.NegativeTTL)
	for i, a := range l.addresses {
		e := envelope{
			flags: flagValue, id: l.newID, created: time.Now().UnixMicro(), loadTime: took, stamp: l.stamp,
			fingerprint: l.c.fingerprint, tags: union(a.names, tags),
		}
		if l.errorOf(i) != nil {
			if negative := l.negativeAt(i); negative != nil {
				l.ttls[i] = l.c.withJitter(negativeTTL) // not for MaxStale: stale errors are of no use
				e.softExpiry = softExpiry(e.created, l.ttls[i])
				e.flags, e.payload = flagNegative, []byte(negative.Error())
				l.encoded[i] = e.bytes()
			}
			continue
		}
		ttl := l.c.withJitter(ttl)
		e.softExpiry = softExpiry(e.created, ttl)
		l.ttls[i] = l.c.keepFor(ttl)
		var err error
		if l.encoded[i], err = e.encode(l.c.codec, a.key, &l.values[i]); err != nil {
			l.alone, l.storeErr = true, err
			l.c.client.warnOnce(l.ctx, "cachify: a value can't be encoded and is not stored", l.c.template.text(), err)
		}
	}
}

// negativeAt gives the error to remember for one of the keys. That of a whole batch says nothing about any one key of it.
func (l *load[K, V]) negativeAt(i int) error {
	if _, partly := l.failed.(*BatchError); l.batch && !partly && len(l.keys) > 1 {
		return nil
	}
	return l.c.negativeOf(l.errorOf(i))
}

// storable gives the indices of the entries that there are, less those that are longer than MaxBytes.
func (l *load[K, V]) storable() (indices []int) {
	for i, entry := range l.encoded {
		if entry == nil {
			continue
		}
		if err := l.c.checkLength(l.keys[i], entry); err != nil {
			l.storeErr = err
			l.c.client.warnOnce(l.ctx, "cachify: a value is too long and is not stored", l.c.template.text(), err)
			continue
		}
		indices = append(indices, i)
	}
	return indices
}

// freeOthers frees the leases of all keys but those.
func (l *load[K, V]) freeOthers(stored []int) {
	if l.lease == nil || len(stored) == len(l.keys) {
		return
	}
	var keys []string
	for i, key := range l.keys {
		if _, found := slices.BinarySearch(stored, i); !found {
			keys = append(keys, key)
		}
	}
	_ = l.c.client.free(l.ctx, &flight{keys: keys, lease: l.lease})
}

func (c *Cached[K, V]) checkLength(key string, entry []byte) error {
	if c.opts.MaxBytes == 0 || len(entry) <= c.opts.MaxBytes {
		return nil
	}
	return fmt.Errorf("cachify: the entry of %s is %d bytes long, more than CachedOptions.MaxBytes of %d", key, len(entry), c.opts.MaxBytes)
}

// store puts the entries of those indices in the place of head, where that is still there. A Reset, Put or newer lease has
// taken it away, and so wins.
func (l *load[K, V]) store(stored []int, added []string) {
	keys, entries, ttls := pick(l.keys, stored), pick(l.encoded, stored), pick(l.ttls, stored)
	var tags tagSet
	for _, i := range stored {
		tags.add(l.addresses[i].tags...)
	}
	for _, tag := range added {
		tags.add(l.c.client.tagKey(tag))
	}
	ctx := context.WithoutCancel(l.ctx)
	op, cancel := l.c.client.opContext(ctx)
	defer cancel()
	tickets := l.nearTickets(keys)
	done, stamps, err := l.c.client.store.Set(op, l.head, keys, entries, ttls, tags.list)
	if l.c.report(ctx, err) != nil {
		l.storeErr = err
		if l.lease != nil {
			l.c.client.freeLater(ctx, l.flight)
		}
		return
	}
	l.keepNear(stored, tickets, done, stamps)
	dropped := count(done, false)
	l.c.stats.dropped.Add(dropped)
	if l.refreshes && dropped > 0 {
		l.storeErr = l.c.removeOlder(ctx, l.keys[0], l.began)
	}
}

// pick gives the elements at those indices: list itself if that is all of them.
func pick[T any](list []T, indices []int) []T {
	if len(indices) == len(list) {
		return list
	}
	picked := make([]T, len(indices))
	for i, index := range indices {
		picked[i] = list[index]
	}
	return picked
}

// removeOlder removes a value whose load began before the given time. Of two refreshes of one value the first to finish
// replaces it; if that is the one that began first, what it stored is older than what the other one gave its caller. By
// the clocks of two processes that differ, this may remove a value that is not older, which is a miss and no more, or
// miss one that is.
func (c *Cached[K, V]) removeOlder(ctx context.Context, key string, began time.Time) error {
	data, _, err := c.client.readOne(ctx, key, nil)
	if err != nil {
		return err
	}
	e, ok := parseEnvelope(data)
	if !ok || e.flags&flagValue == 0 || e.created-e.loadTime.Microseconds() >= began.UnixMicro() {
		return nil
	}
	return c.remove(ctx, key, e.head())
}

// freshFor says whether callers may have a value under tags that were added during the load. Of the others they have
// seen for themselves that none had outrun the load; of these they could not know. It is asked when nobody joins any
// more, so after all of them have started.
func (l *load[K, V]) freshFor(added []string) bool {
	if len(added) == 0 {
		return true
	}
	tags := []string{l.c.client.stampKey}
	for _, tag := range added {
		tags = append(tags, l.c.client.tagKey(tag))
	}
	ctx := context.WithoutCancel(l.ctx)
	op, cancel := l.c.client.opContext(ctx)
	defer cancel()
	_, stamps, err := l.c.client.store.Get(op, nil, tags, nil)
	return l.c.report(ctx, err) == nil && fresh(l.stamp, stamps)
}

func count(done []bool, want bool) (n int64) {
	for _, d := range done {
		if d == want {
			n++
		}
	}
	return n
}

// union returns a's elements, then those of b that are not among them. It changes neither.
func union(a, b []string) []string {
	all := a[:len(a):len(a)]
	for _, s := range b {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return all
}
