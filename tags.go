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
	err := c.advance(ctx, keys)
	if err != nil {
		err = fmt.Errorf("cachify: ResetTags %s: %w", strings.Join(tags, ", "), err)
	}
	end(Outcome{Err: err})
	return err
}

// advance makes every entry with one of tags[1:] stale, now or, if that fails, in the background.
func (c *Client) advance(ctx context.Context, tags []string) error {
	c.flights.forgetBypasses()
	c.stats.resets.Add(1)
	if c.isClosed() {
		return ErrClosed
	}
	if err := c.advanceOnce(ctx, tags); err != nil {
		c.retries.addTags(c, tags[1:])
		return err
	}
	return nil
}

func (c *Client) advanceOnce(ctx context.Context, tags []string) error {
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, err := c.store.Advance(op, DefaultTTL, tags)
	return c.report(ctx, err)
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

// freshEntry is fresh for an entry whose list of tags is known only now. tags and stamps are what was read with it.
// Tags that were not among them cost a second round trip, and that only if anything was reset since the load.
func (c *Client) freshEntry(ctx context.Context, e *envelope, tags []string, stamps []int64) (bool, error) {
	if !fresh(e.stamp, stamps) {
		return false, nil
	}
	if len(e.tags) == 0 || (stamps[0] != 0 && stamps[0] <= e.stamp) {
		return true, nil
	}
	missing := []string{c.stampKey}
	for _, tag := range e.tags {
		if key := c.tagKey(tag); !slices.Contains(tags, key) {
			missing = append(missing, key)
		}
	}
	if len(missing) == 1 {
		return true, nil
	}
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, more, err := c.store.Get(op, nil, missing)
	if c.report(ctx, err) != nil {
		return false, err
	}
	return fresh(e.stamp, more), nil
}
