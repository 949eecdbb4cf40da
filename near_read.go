package cachify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
)

// nearOf gives the near cache of a wrapper: one of its own, the client's, or none.
func (c *Client) nearOf(opts *NearOptions) (*near, error) {
	if opts == nil && c.opts.Near == nil {
		return nil, nil
	}
	followed, ok := c.store.(Followed)
	if !ok {
		return nil, fmt.Errorf("cachify: a near cache needs a store that tells of changes, and %T has no Follow: leave out Near", c.store)
	}
	if opts == nil {
		return c.feed.common(followed, c.opts.Near, c.stampKey), nil
	}
	return c.feed.add(followed, *opts, c.stampKey), nil
}

// isImmutable says whether nobody can change a value of t that they have been given a copy of.
func isImmutable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return true
	case reflect.Array:
		return isImmutable(t.Elem())
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return true // its location is never written to
		}
		for i := range t.NumField() {
			if !isImmutable(t.Field(i).Type) {
				return false
			}
		}
		return true
	}
	return false
}

// nearGet gives what the near cache has for args. out may be nil.
func (c *Cached[K, V]) nearGet(ctx context.Context, key string, args K, out *Outcome) (v V, ok bool, err error) {
	e := c.near.get(key, c.fingerprint)
	if e == nil || ctx.Err() != nil || c.client.retries.holds(key, e.tags) {
		return v, false, nil
	}
	if v, err = c.nearValue(key, e); err == errNoValue {
		return v, false, nil
	}
	c.stats.nearHits.add()
	if err != nil || !c.ages() {
		return v, true, err
	}
	a, err := c.address(args)
	if err != nil {
		return v, true, nil
	}
	if f := c.nearFound(e); c.serve(ctx, &a, f) == isExpired {
		if out == nil {
			out = new(Outcome)
		}
		v = c.stale(ctx, &a, f, v, out)
	}
	return v, true, nil
}

// nearFound is what a caller would have found in the store.
func (c *Cached[K, V]) nearFound(e *nearEntry) *found {
	stamps := []int64{max(e.stamp, c.client.feed.latest.Load())}
	return &found{what: isValue, id: e.id, head: headOf(e.id, flagValue), stamps: stamps, created: e.created, softExpiry: e.softExpiry}
}

var errNoValue = errors.New("cachify: no value")

// nearValue gives the value of an entry, or the error that is remembered in its place. Another wrapper of the template may have kept it,
// whose type only looks the same or whose list of errors is another one: what does not fit is no value.
func (c *Cached[K, V]) nearValue(key string, e *nearEntry) (v V, err error) {
	if kept, ok := e.value.(*V); ok {
		return *kept, nil
	}
	if e.payload == nil {
		return v, errNoValue
	}
	if e.negative {
		if err = c.negativeOfText(e.payload); err == nil {
			err = errNoValue
		}
		return v, err
	}
	return c.nearDecode(key, e.payload)
}

// nearDecode is apart from nearValue for the sake of hits that need no decoding, and then no memory.
func (c *Cached[K, V]) nearDecode(key string, payload []byte) (v V, err error) {
	entry := envelope{payload: payload}
	if entry.decode(c.codec, key, &v) != nil {
		return v, errNoValue
	}
	return v, nil
}

// nearTicket is the ticket for a key that is about to be read.
func (c *Cached[K, V]) nearTicket(key string) nearTicket {
	if c.near == nil {
		return nearTicket{}
	}
	t := c.near.ticket(key)
	if t.slot != nil {
		t.ttl = make([]time.Duration, 1)
	}
	return t
}

// keepNear keeps an entry that is fresh by the given stamp of the prefix. v is its value, which counts only if callers may share it.
func (c *Cached[K, V]) keepNear(t nearTicket, a *address[K], e *envelope, data []byte, stamp int64, v *V) {
	if t.slot == nil {
		return
	}
	entry := &nearEntry{
		print: c.fingerprint, id: e.id, stamp: stamp, tags: union(a.tags[1:], c.client.addedTags(e)),
		created: e.created, softExpiry: e.softExpiry,
		until: t.taken + c.near.ttl, weight: uint32(min(len(a.key)+len(data)+nearOverhead, math.MaxUint32)),
	}
	if left := t.ttl[0]; left != NoExpiry {
		entry.until = t.taken + min(left, c.near.ttl)
	}
	if entry.negative = e.flags&flagNegative != 0; c.shares && !entry.negative {
		shared := *v
		entry.value = &shared
	} else {
		entry.payload = e.payload
	}
	c.near.keep(t, a.key, entry)
}

// nearTickets gives a ticket for each key of a load that is about to be stored.
func (l *load[K, V]) nearTickets(keys []string) []nearTicket {
	if l.c.near == nil {
		return nil
	}
	tickets := make([]nearTicket, len(keys))
	for i, key := range keys {
		tickets[i] = l.c.nearTicket(key)
	}
	return tickets
}

// keepNear keeps what has been stored. It goes by the stored form, since that is what the others get, and by the stamps of the tags as
// they were then: of a reset during the load, this process may not have been told.
func (l *load[K, V]) keepNear(stored []int, tickets []nearTicket, done []bool, stamps []int64) {
	if len(tickets) == 0 || !fresh(l.stamp, stamps) {
		return
	}
	for i, t := range tickets {
		if !done[i] || t.slot == nil {
			continue
		}
		index := stored[i]
		t.ttl[0] = l.ttls[index]
		var v V
		e, _ := parseEnvelope(l.encoded[index])
		if l.c.shares && l.c.decode(l.ctx, l.addresses[index], &e, &v) != isValue {
			continue
		}
		l.c.keepNear(t, l.addresses[index], &e, l.encoded[index], max(l.stamp, stamps[0]), &v)
	}
}

// nearHit gives an item what the near cache has for it.
func (m *many[K, V]) nearHit(ctx context.Context, it *item[K, V]) bool {
	if m.c.near == nil {
		return false
	}
	v, ok, err := m.c.nearGet(ctx, it.key, it.args, nil)
	it.value, it.err = v, err
	return ok
}

// nearTickets gives a ticket for each of the items that are about to be read, and room for how long they have left.
func (m *many[K, V]) nearTickets(items []*item[K, V]) (tickets []nearTicket, left []time.Duration) {
	if m.c.near == nil {
		return nil, nil
	}
	tickets = make([]nearTicket, len(items))
	for i, it := range items {
		tickets[i] = m.c.near.ticket(it.key)
	}
	return tickets, make([]time.Duration, len(items))
}

// keepNear keeps items[i] of those the tickets are for.
func (m *many[K, V]) keepNear(it *item[K, V], i int, tickets []nearTicket, left []time.Duration, data []byte, stamp int64) {
	if tickets == nil {
		return
	}
	t := tickets[i]
	t.ttl = left[i : i+1]
	m.c.keepNear(t, &it.address, &it.entry, data, max(it.entry.stamp, stamp), &it.value)
}
