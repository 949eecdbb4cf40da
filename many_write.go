package cachify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ResetMany is Reset for many arguments, in one round trip. The promise of [Cached.Reset] holds for each of them. An argument
// that has no key is an error of its own, and does not keep the others from being reset.
//
// If any argument fails, the error is a [*BatchError]. Where the store could not be reached that is all of them.
func (c *Cached[K, V]) ResetMany(ctx context.Context, args []K) error {
	return c.writeMany(ctx, "ResetMany", c.newMany(args), func(ctx context.Context, items []*item[K, V]) {
		fail(items, c.resetKeys(ctx, keysOf(items)))
	})
}

// writeMany has write deal with the items that have a key, and gives the errors of all.
func (c *Cached[K, V]) writeMany(ctx context.Context, name string, m *many[K, V], write func(context.Context, []*item[K, V])) error {
	if c.client.isClosed() {
		return ErrClosed
	}
	keyed, others := split(m.items, func(it *item[K, V]) bool { return it.key != "" })
	for _, it := range others {
		_, it.err = c.address(it.args)
	}
	ctx, end := c.client.trace(ctx, Operation{Name: name, Template: c.template.text()})
	if len(keyed) > 0 {
		write(ctx, keyed)
	}
	err := m.batchError(name)
	end(Outcome{Err: err})
	return err
}

func fail[K, V any](items []*item[K, V], err error) {
	for _, it := range items {
		it.err = err
	}
}

func (c *Cached[K, V]) resetKeys(ctx context.Context, keys []string) error {
	c.stats.resets.Add(int64(len(keys)))
	c.client.flights.forgetBypasses(keys...)
	defer c.client.feed.changed(entryID{}, keys...)
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	_, err := c.client.store.Delete(op, nil, keys)
	if c.report(ctx, err) != nil {
		for _, key := range keys {
			c.client.retries.addKey(c.client, key, c.tags[1])
		}
		return err
	}
	c.stats.invalidations.Add(int64(len(keys)))
	return nil
}

// PutMany is Put for many arguments, values[i] for args[i], in two round trips. Where arguments have the same key, the last value
// counts.
//
// If any argument fails, the error is a [*BatchError] that has the error of each of them, naming its key; the others are stored.
func (c *Cached[K, V]) PutMany(ctx context.Context, args []K, values []V) error {
	if len(args) != len(values) {
		return fmt.Errorf("cachify: PutMany of %q: %d arguments and %d values: give one value for each argument", c.template.text(), len(args), len(values))
	}
	m := c.newMany(args)
	for i, at := range m.index {
		m.items[at].value = values[i]
	}
	return c.writeMany(ctx, "PutMany", m, c.putItems)
}

// putItems is [Cached.put] for many. What can't be stored is reset: what was there is out of date.
func (c *Cached[K, V]) putItems(ctx context.Context, items []*item[K, V]) {
	defer c.client.feed.changed(entryID{}, keysOf(items)...)
	lease := c.newLease(time.Now())
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	leases, ttls := slices.Repeat([][]byte{lease}, len(items)), slices.Repeat([]time.Duration{leaseTTL}, len(items))
	_, stamps, err := c.client.store.Set(op, nil, keysOf(items), leases, ttls, c.tags[:1])
	if c.report(ctx, err) != nil {
		c.putItemsFailed(items, err)
		return
	}
	good, values, ttls := c.encodeItems(items, lease.id(), stamps[0])
	if len(good) == 0 {
		return
	}
	op, cancel = c.client.opContext(ctx)
	defer cancel()
	_, _, err = c.client.store.Set(op, lease.head(), keysOf(good), values, ttls, tagsOf(good))
	if c.report(ctx, err) != nil {
		c.putItemsFailed(good, err)
		return
	}
	c.stats.invalidations.Add(int64(len(good)))
	c.client.flights.forgetBypasses(keysOf(good)...)
}

func (c *Cached[K, V]) putItemsFailed(items []*item[K, V], err error) {
	for _, it := range items {
		it.err = c.putFailed(&it.address, err)
	}
}

// encodeItems makes the entries of items; those of which none can be made it resets.
func (c *Cached[K, V]) encodeItems(items []*item[K, V], id entryID, stamp int64) (good []*item[K, V], entries [][]byte, ttls []time.Duration) {
	for _, it := range items {
		ttl := c.withJitter(c.opts.TTL)
		e := envelope{flags: flagValue, id: id, created: time.Now().UnixMicro(), stamp: stamp, fingerprint: c.fingerprint, tags: it.names}
		e.softExpiry = softExpiry(e.created, ttl)
		data, err := e.encode(c.codec, it.key, &it.value)
		if err == nil {
			err = c.checkLength(it.key, data)
		}
		if err != nil {
			it.err = c.putFailed(&it.address, err)
			continue
		}
		good, entries, ttls = append(good, it), append(entries, data), append(ttls, c.keepFor(ttl))
	}
	return good, entries, ttls
}
