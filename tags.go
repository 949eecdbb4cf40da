package cachify

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Tags make resets of many entries cost the same however many there are. Each prefix has a reset stamp that
// only grows. ResetTags takes the next stamp and writes it to its tags; a load notes the stamp that was current when
// its lease was taken; an entry is fresh while none of its tags carries a later stamp than the one it
// notes. All tags of a prefix share one Redis Cluster slot, so one command reads any number of them.

// stampKey is the key that hands out the reset stamps of a prefix. The braces keep it and all tags, whose keys
// begin with it, in one Cluster slot.
func stampKey(prefix string) string { return prefix + "tag:{" + prefix + "tag}" }

// tagKey is the key of a tag that users name.
func (c *Client) tagKey(tag string) string { return c.stampKey + ":" + tag }

// wrapperTagKey is the key of the tag that every entry of a wrapper carries without saying, for ResetAll.
func (c *Client) wrapperTagKey(template string) string { return c.stampKey + "*" + template }

// ResetTags makes every entry that carries one of tags a miss, in one round trip however many entries there are.
// The promise of [Cached.Reset] holds for it as well: a Get that starts after ResetTags has returned never returns
// a value that was loaded before ResetTags began, also if the load adds its tags afterwards. An error
// means that the store could not be reached; the reset is then tried again in the background until it is done
// or the client is closed.
func (c *Client) ResetTags(ctx context.Context, tags ...string) error {
	if err := c.usable(); err != nil {
		return err
	}
	if slices.Contains(tags, "") {
		return errors.New("cachify: ResetTags: a tag is empty: give each a name")
	}
	if len(tags) == 0 {
		return nil
	}
	keys := []string{c.stampKey}
	for _, tag := range tags {
		keys = append(keys, c.tagKey(tag))
	}
	ctx, end := c.trace(ctx, Operation{Name: "ResetTags"})
	err := c.advance(ctx, &c.stats, keys)
	if err != nil {
		err = fmt.Errorf("cachify: ResetTags %s: %w", strings.Join(tags, ", "), err)
	}
	end(Outcome{Err: err})
	return err
}

// advance makes every entry with one of tags[1:] stale, now or, if that fails, in the background.
func (c *Client) advance(ctx context.Context, stats *counters, tags []string) error {
	c.flights.forgetBypasses()
	stats.resets.Add(1)
	if c.isClosed() {
		return ErrClosed
	}
	if err := c.advanceOnce(ctx, stats, tags); err != nil {
		c.retries.addTags(c, tags[1:])
		return err
	}
	return nil
}

func (c *Client) advanceOnce(ctx context.Context, stats *counters, tags []string) error {
	op, cancel := c.opContext(ctx)
	defer cancel()
	stamp, err := c.store.Advance(op, DefaultTTL, tags)
	if c.reportTo(stats, ctx, err) != nil {
		return err
	}
	stats.invalidations.Add(1)
	c.feed.advanced(stamp, tags[1:])
	return nil
}

// ensureStamp fills in the prefix's stamp where stamps, as just read, have none: the first load of a prefix begins it, and
// so does the first one after it was evicted.
func (c *Client) ensureStamp(ctx context.Context, stamps []int64) error {
	if stamps[0] != 0 {
		return nil
	}
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, begun, err := c.store.Set(op, nil, nil, nil, nil, []string{c.stampKey})
	if c.report(ctx, err) != nil {
		return err
	}
	stamps[0] = begun[0]
	return nil
}

// fresh says whether what noted the given stamp has outrun no reset, by the stamps now at the prefix (first) and at
// its tags. Where the prefix has handed out nothing later, no tag can carry anything later. A tag
// that is gone may have carried a later one, so it counts as reset: eviction turns hits into misses, never the reverse.
func fresh(noted int64, stamps []int64) bool {
	if stamps[0] != 0 && stamps[0] <= noted {
		return true
	}
	for _, stamp := range stamps[1:] {
		if stamp == 0 || stamp > noted {
			return false
		}
	}
	return true
}

// A tagSet collects tags, each once, in the order in which they come.
type tagSet struct {
	list []string
	seen map[string]bool
}

func (s *tagSet) add(tags ...string) {
	if s.seen == nil {
		s.seen = make(map[string]bool)
	}
	for _, tag := range tags {
		if !s.seen[tag] {
			s.seen[tag] = true
			s.list = append(s.list, tag)
		}
	}
}

// A stampMap holds stamps by the keys of their tags.
type stampMap map[string]int64

func newStampMap(tags []string, stamps []int64) stampMap {
	m := make(stampMap, len(tags))
	m.put(tags, stamps)
	return m
}

func (m stampMap) put(tags []string, stamps []int64) {
	for i, stamp := range stamps {
		m[tags[i]] = stamp
	}
}

// of returns the stamps of tags.
func (m stampMap) of(tags []string) []int64 {
	stamps := make([]int64, len(tags))
	for i, tag := range tags {
		stamps[i] = m[tag]
	}
	return stamps
}

// freshEntry says whether an entry is fresh, whose address has the given tags with the given stamps. Tags that were added
// during its load are known only now. They cost a second round trip, and that only if anything was reset since the load.
func (c *Client) freshEntry(ctx context.Context, e *envelope, tags []string, stamps []int64) (bool, error) {
	if !fresh(e.stamp, stamps) || c.retries.holdsAny(c.addedTags(e)) {
		return false, nil
	}
	if len(e.tags) == 0 || stamps[0] <= e.stamp {
		return true, nil
	}
	known := newStampMap(tags, stamps)
	if err := c.readMissing(ctx, known, e); err != nil {
		return false, err
	}
	return c.freshBy(known, e, tags), nil
}

// freshBy is freshEntry where all stamps are known.
func (c *Client) freshBy(known stampMap, e *envelope, tags []string) bool {
	added := c.addedTags(e)
	return fresh(e.stamp, known.of(tags)) && fresh(e.stamp, known.of(append([]string{c.stampKey}, added...))) && !c.retries.holdsAny(added)
}

// addedTags returns the keys of the tags that an entry names.
func (c *Client) addedTags(e *envelope) []string {
	if len(e.tags) == 0 {
		return nil
	}
	keys := make([]string, len(e.tags))
	for i, tag := range e.tags {
		keys[i] = c.tagKey(tag)
	}
	return keys
}

// readMissing adds the stamps that entries need and that are not known, in one round trip for all of them.
func (c *Client) readMissing(ctx context.Context, known stampMap, entries ...*envelope) error {
	var missing tagSet
	for _, e := range entries {
		if e.stamp >= known[c.stampKey] {
			continue // nothing was reset since
		}
		for _, tag := range c.addedTags(e) {
			if _, ok := known[tag]; !ok {
				missing.add(tag)
			}
		}
	}
	if len(missing.list) == 0 {
		return nil
	}
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, stamps, err := c.store.Get(op, nil, append([]string{c.stampKey}, missing.list...), nil)
	if c.report(ctx, err) != nil {
		return err
	}
	known.put(missing.list, stamps[1:])
	return nil
}
