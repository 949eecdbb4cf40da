package cachify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// manyAtOnce bounds how many of one GetMany's misses are loaded, or waited for, at the same time.
const manyAtOnce = 16

// GetMany is Get for many arguments: all hits cost one round trip together, arguments of one key count once, and
// the values come in the order of args. Misses are loaded by the function, up to 16 at a time, or, where the wrapper
// was made with [Cached.Batch], in one call of the batch function.
//
// If any argument fails, the error is a [*BatchError] that has the error of each of them, naming its key. The values of the others are
// there all the same, also in the store; those that failed have V's zero value.
func (c *Cached[K, V]) GetMany(ctx context.Context, args []K) ([]V, error) {
	m := c.getMany(ctx, args)
	values := make([]V, len(m.index))
	for i, at := range m.index {
		values[i] = m.items[at].value
	}
	return values, m.err
}

func (c *Cached[K, V]) getMany(ctx context.Context, args []K) *many[K, V] {
	m := c.newMany(args)
	ctx, end := c.client.trace(ctx, Operation{Name: "GetMany", Template: c.template.text()})
	out := Outcome{Err: errCrashed}
	defer func() { end(out) }()
	misses := m.readHits(ctx, &out)
	if c.batch != nil && len(misses) > 0 {
		misses = m.loadBatch(ctx, misses, &out)
	}
	m.getEach(ctx, misses)
	m.err = m.batchError("GetMany")
	out.Err = m.err
	return m
}

// A many is one call of GetMany.
type many[K, V any] struct {
	c     *Cached[K, V]
	start time.Time
	down  bool // the store has failed this call, which does without it from then on
	err   error
	index []int         // of args, in what follows
	items []*item[K, V] // one a key, and one for each of the arguments that have none
}

type item[K, V any] struct {
	address[K]
	value V
	err   error
	crash *crash // in err's place if the function did not return
	done  bool   // the value, or the error, is there

	// What the store was last found to hold.
	what  finding
	entry envelope
	head  []byte
}

func split[T any](items []T, want func(T) bool) (wanted, others []T) {
	for _, it := range items {
		if want(it) {
			wanted = append(wanted, it)
		} else {
			others = append(others, it)
		}
	}
	return wanted, others
}

func keysOf[K, V any](items []*item[K, V]) []string {
	keys := make([]string, len(items))
	for i, it := range items {
		keys[i] = it.key
	}
	return keys
}

func argsOf[K, V any](items []*item[K, V]) []K {
	args := make([]K, len(items))
	for i, it := range items {
		args[i] = it.args
	}
	return args
}

func addressesOf[K, V any](items []*item[K, V]) []*address[K] {
	addresses := make([]*address[K], len(items))
	for i, it := range items {
		addresses[i] = &it.address
	}
	return addresses
}

// tagsOf returns all tags of items, each once.
func tagsOf[K, V any](items []*item[K, V]) []string {
	if tags := items[0].tags; len(tags) == wrapperTags {
		return tags // nobody has more
	}
	var tags tagSet
	for _, it := range items {
		tags.add(it.tags...)
	}
	return tags.list
}

func (c *Cached[K, V]) newMany(args []K) *many[K, V] {
	m := &many[K, V]{c: c, start: time.Now(), index: make([]int, len(args))}
	byKey := make(map[string]int, len(args))
	for i, arg := range args {
		a, err := c.address(arg)
		if err != nil {
			a = address[K]{args: arg} // getEach runs the function
		}
		at, seen := byKey[a.key]
		if !seen || a.key == "" {
			at = len(m.items)
			byKey[a.key] = at
			m.items = append(m.items, &item[K, V]{address: a})
		}
		m.index[i] = at
	}
	return m
}

// readHits reads everything at once and returns the misses. If the store can't be read, all are.
func (m *many[K, V]) readHits(ctx context.Context, out *Outcome) (misses []*item[K, V]) {
	var keyed []*item[K, V]
	for _, it := range m.items {
		switch {
		case it.key == "" || m.c.client.retries.holds(it.key, it.tags):
			misses = append(misses, it)
		case !m.nearHit(ctx, it):
			keyed = append(keyed, it)
		}
	}
	if len(keyed) == 0 || m.c.client.breaker.open.Load() || m.c.client.isClosed() || ended(ctx) != nil {
		return append(misses, keyed...)
	}
	tags := tagsOf(keyed)
	tickets, left := m.nearTickets(keyed)
	op, cancel := m.c.client.opContext(ctx)
	defer cancel()
	values, stamps, err := m.c.client.store.Get(op, keysOf(keyed), tags, left)
	known := newStampMap(tags, stamps)
	if m.c.report(ctx, err) == nil {
		err = m.read(ctx, keyed, values, known)
	}
	if err != nil {
		out.StoreErr, m.down = err, true
		return append(misses, keyed...)
	}
	for i, it := range keyed {
		if it.what == isValue {
			m.keepNear(it, i, tickets, left, values[i], stamps[0])
			m.hit(ctx, it, known)
		} else {
			misses = append(misses, it)
		}
	}
	return misses
}

// hit is [Cached.hit], but nobody waits for an expired value to be loaded anew.
func (m *many[K, V]) hit(ctx context.Context, it *item[K, V], known stampMap) {
	m.c.stats.hits.Add(1)
	e := &it.entry
	if e.flags&flagNegative != 0 {
		it.err = m.c.negativeIn(e)
		return
	}
	if !m.c.ages() {
		return
	}
	f := found{what: it.what, id: e.id, head: it.head, stamps: known.of(it.tags), created: e.created, softExpiry: e.softExpiry}
	if m.c.serve(ctx, &it.address, &f) == isExpired {
		m.c.stats.stale.Add(1)
		m.c.refreshBehind(ctx, &it.address, &f)
	}
}

// read is Cached.read for many items at once. It leaves in each what was found.
func (m *many[K, V]) read(ctx context.Context, items []*item[K, V], values [][]byte, stamps stampMap) error {
	entries := make([]*envelope, 0, len(items))
	for i, it := range items {
		if it.what = isVacant; values[i] == nil {
			continue
		}
		it.entry, it.what = m.c.identify(values[i])
		it.head = values[i][:min(headSize, len(values[i]))]
		if it.what == isValue {
			entries = append(entries, &it.entry)
		}
	}
	if err := m.c.client.readMissing(ctx, stamps, entries...); err != nil {
		return err
	}
	for _, it := range items {
		switch {
		case it.what != isValue:
		case !m.c.client.freshBy(stamps, &it.entry, it.tags):
			it.what = isStale
		default:
			it.what = m.c.decode(ctx, &it.address, &it.entry, &it.value)
		}
	}
	return nil
}

// loadBatch takes the leases of as many misses as it can get and loads these in one call. It returns the others, which
// have no key or are being loaded elsewhere.
func (m *many[K, V]) loadBatch(ctx context.Context, misses []*item[K, V], out *Outcome) (others []*item[K, V]) {
	keyed, others := split(misses, func(it *item[K, V]) bool { return it.key != "" })
	if len(keyed) == 0 || ended(ctx) != nil {
		return misses
	}
	if m.down || m.c.client.isClosed() || m.c.client.breaker.open.Load() {
		m.callBatch(ctx, keyed)
		return others
	}
	lease := m.c.newLease(time.Now())
	mine, stamp, err := m.takeLeases(ctx, lease, keyed)
	if err != nil {
		out.StoreErr, m.down = err, true
		m.callBatch(ctx, keyed)
		return others
	}
	if len(mine) > 0 {
		m.loadLeased(ctx, lease, stamp, mine)
	}
	_, rest := split(misses, func(it *item[K, V]) bool { return it.done })
	return rest
}

// loadLeased loads what is leased in one call.
func (m *many[K, V]) loadLeased(ctx context.Context, lease lease, stamp int64, mine []*item[K, V]) {
	m.c.stats.misses.Add(int64(len(mine)))
	l := m.c.leasedLoad(ctx, lease, stamp, addressesOf(mine)...)
	l.batch = true
	values, err := l.do(ctx, func(ctx context.Context) ([]V, error) { return m.c.runBatch(ctx, argsOf(mine)) })
	m.deliver(mine, values, err)
}

// callBatch loads items in one call without the store.
func (m *many[K, V]) callBatch(ctx context.Context, items []*item[K, V]) {
	m.c.stats.bypasses.Add(int64(len(items)))
	ctx, _ = withCall(ctx, m.c.client, nil)
	values, err := m.c.runBatch(ctx, argsOf(items))
	m.deliver(items, values, err)
}

func (c *Cached[K, V]) runBatch(ctx context.Context, args []K) ([]V, error) {
	values, err := c.batch(ctx, args)
	err = batchErrorOf(err, len(args))
	if _, partly := err.(*BatchError); (err == nil || partly) && len(values) != len(args) {
		return nil, fmt.Errorf("cachify: the batch function of %q returned %d values for %d arguments: it must return one for each, in their order",
			c.template.text(), len(values), len(args))
	}
	return values, err
}

func (m *many[K, V]) deliver(items []*item[K, V], values []V, err error) {
	for i, it := range items {
		it.done = true
		if it.err = errorAt(err, i); it.err == nil {
			it.value = values[i]
		}
	}
}

// takeLeases puts lease on as many of items as have nothing or nothing usable in the store, and returns those. What is
// of no use is removed after the first attempt and leased in a second one.
func (m *many[K, V]) takeLeases(ctx context.Context, lease lease, items []*item[K, V]) (mine []*item[K, V], stamp int64, err error) {
	mine, useless, stamp, err := m.tryLeases(ctx, lease, items)
	if err == nil && len(useless) > 0 {
		if err = m.remove(ctx, useless); err == nil {
			var more []*item[K, V]
			more, _, stamp, err = m.tryLeases(ctx, lease, useless)
			mine = append(mine, more...)
		}
	}
	if err != nil {
		m.c.client.giveUp(ctx, lease, keysOf(items)...)
	}
	return mine, stamp, err
}

// tryLeases is one attempt at it.
func (m *many[K, V]) tryLeases(ctx context.Context, lease lease, items []*item[K, V]) (mine, useless []*item[K, V], stamp int64, err error) {
	tags := tagsOf(items)
	op, cancel := m.c.client.opContext(ctx)
	defer cancel()
	values, stamps, err := m.c.client.store.Lease(op, lease, leaseTTL, keysOf(items), tags, nil)
	if m.c.report(ctx, err) == nil {
		err = m.c.client.ensureStamp(ctx, stamps)
	}
	if err != nil {
		return nil, nil, 0, err
	}
	known := newStampMap(tags, stamps)
	if err := m.read(ctx, items, values, known); err != nil {
		return nil, nil, 0, err
	}
	for _, it := range items {
		switch {
		case it.what == isVacant, it.what == isLease && it.entry.id == lease.id():
			mine = append(mine, it)
		case it.what == isValue: // since readHits
			m.hit(ctx, it, known)
			it.done = true
		case it.what == isStale || it.what == isForeign:
			useless = append(useless, it)
		}
	}
	return mine, useless, stamps[0], nil
}

func (m *many[K, V]) remove(ctx context.Context, items []*item[K, V]) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(manyAtOnce)
	for _, it := range items {
		group.Go(func() error { return m.c.remove(ctx, it.key, it.head) })
	}
	return group.Wait()
}

// getEach does what is left one by one. A panic in one of them becomes the caller's when all are done.
func (m *many[K, V]) getEach(ctx context.Context, items []*item[K, V]) {
	var group errgroup.Group
	group.SetLimit(manyAtOnce)
	for _, it := range items {
		group.Go(func() error {
			returned := false
			defer func() {
				if !returned {
					value := recover()
					it.crash = &crash{value: value, goexit: value == nil}
				}
			}()
			switch {
			case it.key == "":
				it.value, it.err = m.c.Get(ctx, it.args)
			case m.down:
				it.value, it.err = m.c.failOpen(ctx, &it.address, new(Outcome), m.start, nil)
			default:
				it.value, it.err = m.c.get(ctx, &it.address, new(Outcome))
			}
			returned = true
			return nil
		})
	}
	_ = group.Wait() // each item has its own error
	for _, it := range items {
		it.crash.resume()
	}
}

// batchError gives the errors of the items by argument, each with its key; nil if there are none.
func (m *many[K, V]) batchError(name string) error {
	var errs []error // of the items
	for i, it := range m.items {
		if it.err == nil {
			continue
		}
		if errs == nil {
			errs = make([]error, len(m.items))
		}
		key := it.key
		if key == "" {
			key = fmt.Sprintf("argument %d", slices.Index(m.index, i))
		}
		errs[i] = fmt.Errorf("cachify: %s %s: %w", name, key, it.err)
	}
	if errs == nil {
		return nil
	}
	batch := &BatchError{Errs: make([]error, len(m.index))}
	for i, at := range m.index {
		batch.Errs[i] = errs[at]
	}
	return batch
}
