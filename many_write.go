package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ResetMany is Reset for many arguments, in one round trip. The promise of [Cached.Reset] holds for each of them. An argument
// that has no key is an error of its own, and does not keep the others from being reset.
func (c *Cached[K, V]) ResetMany(ctx context.Context, args []K) error {
	m := c.newMany(args)
	keyed, others := split(m.items, func(it *item[K, V]) bool { return it.key != "" })
	errs := c.keyErrors(others)
	if c.client.isClosed() {
		return ErrClosed
	}
	ctx, end := c.client.trace(ctx, Operation{Name: "ResetMany", Template: c.template.text()})
	if len(keyed) > 0 {
		if err := c.resetKeys(ctx, keysOf(keyed)); err != nil {
			errs = append(errs, fmt.Errorf("cachify: ResetMany of %d keys of %q: %w", len(keyed), c.template.text(), err))
		}
	}
	err := errors.Join(errs...)
	end(Outcome{Err: err})
	return err
}

func (c *Cached[K, V]) resetKeys(ctx context.Context, keys []string) error {
	c.client.stats.resets.Add(int64(len(keys)))
	c.client.flights.forgetBypasses(keys...)
	defer c.client.feed.changed(entryID{}, keys...)
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	_, err := c.client.store.Delete(op, nil, keys)
	if c.client.report(ctx, err) != nil {
		for _, key := range keys {
			c.client.retries.addKey(c.client, key, c.tags[1])
		}
	}
	return err
}

// keyErrors gives the errors of arguments that have no key.
func (c *Cached[K, V]) keyErrors(items []*item[K, V]) (errs []error) {
	for _, it := range items {
		_, err := c.Key(it.args)
		errs = append(errs, err)
	}
	return errs
}

// PutMany is Put for many arguments, values[i] for args[i], in two round trips. Where arguments have the same key, the last value
// counts. The error joins those of the arguments that failed, each naming its key; the others are stored.
func (c *Cached[K, V]) PutMany(ctx context.Context, args []K, values []V) error {
	if len(args) != len(values) {
		return fmt.Errorf("cachify: PutMany of %q: %d arguments and %d values: give one value for each argument", c.template.text(), len(args), len(values))
	}
	if c.client.isClosed() {
		return ErrClosed
	}
	m := c.newMany(args)
	for i, at := range m.index {
		m.items[at].value = values[i]
	}
	keyed, others := split(m.items, func(it *item[K, V]) bool { return it.key != "" })
	errs := c.keyErrors(others)
	ctx, end := c.client.trace(ctx, Operation{Name: "PutMany", Template: c.template.text()})
	if len(keyed) > 0 {
		errs = append(errs, c.putItems(ctx, keyed)...)
	}
	err := errors.Join(errs...)
	end(Outcome{Err: err})
	return err
}

// putItems is [Cached.put] for many. What can't be stored is reset: what was there is out of date.
func (c *Cached[K, V]) putItems(ctx context.Context, items []*item[K, V]) (errs []error) {
	defer c.client.feed.changed(entryID{}, keysOf(items)...)
	lease := c.newLease(time.Now())
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	leases, ttls := slices.Repeat([][]byte{lease}, len(items)), slices.Repeat([]time.Duration{leaseTTL}, len(items))
	_, stamps, err := c.client.store.Set(op, nil, keysOf(items), leases, ttls, c.tags[:1])
	if c.client.report(ctx, err) != nil {
		return c.putItemsFailed(items, err)
	}
	good, values, ttls, errs := c.encodeItems(items, lease.id(), stamps[0])
	if len(good) == 0 {
		return errs
	}
	op, cancel = c.client.opContext(ctx)
	defer cancel()
	_, _, err = c.client.store.Set(op, lease.head(), keysOf(good), values, ttls, tagsOf(good))
	if c.client.report(ctx, err) != nil {
		return append(errs, c.putItemsFailed(good, err)...)
	}
	c.client.flights.forgetBypasses(keysOf(good)...)
	return errs
}

func (c *Cached[K, V]) putItemsFailed(items []*item[K, V], err error) []error {
	for _, it := range items {
		_ = c.putFailed(&it.address, err)
	}
	return []error{fmt.Errorf("cachify: PutMany of %d keys of %q: %w", len(items), c.template.text(), err)}
}

// encodeItems makes the entries of items; those of which none can be made it resets.
func (c *Cached[K, V]) encodeItems(items []*item[K, V], id entryID, stamp int64) (good []*item[K, V], entries [][]byte, ttls []time.Duration, errs []error) {
	for _, it := range items {
		ttl := c.withJitter(c.opts.TTL)
		e := envelope{flags: flagValue, id: id, created: time.Now().UnixMicro(), stamp: stamp, fingerprint: c.fingerprint, tags: it.names}
		e.softExpiry = softExpiry(e.created, ttl)
		data, err := e.encode(c.codec, it.key, &it.value)
		if err == nil {
			err = c.checkLength(it.key, data)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("cachify: PutMany %s: %w", it.key, c.putFailed(&it.address, err)))
			continue
		}
		good, entries, ttls = append(good, it), append(entries, data), append(ttls, c.keepFor(ttl))
	}
	return good, entries, ttls, errs
}
