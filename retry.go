package cachify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// maxPendingKeys bounds the keys whose reset waits for the store. Beyond it a whole wrapper is reset instead:
// that makes more misses, but loses nothing.
const maxPendingKeys = 10_000

const (
	retryFirst = 100 * time.Millisecond
	retryMax   = 2 * time.Second
	retryBatch = 500
)

// retries holds the resets that could not reach the store, until they are done. Each has a number of its own, so that
// one that is asked for while an earlier one of the same key is being attempted is not taken for done with it.
type retries struct {
	any     atomic.Bool // whether anything is pending, for the read path
	mu      sync.Mutex
	last    int64
	keys    map[string]int64
	tags    map[string]int64
	running bool
}

// addKey has key reset in the background. wrapperTag stands in for it when there are too many.
func (r *retries) addKey(c *Client, key string, wrapperTag string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.keys) < maxPendingKeys {
		r.addLocked(&r.keys, key)
	} else {
		r.addLocked(&r.tags, wrapperTag)
	}
	r.startLocked(c)
}

// addTags has tags (keys of tags, without the stamp's) reset in the background.
func (r *retries) addTags(c *Client, tags []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tag := range tags {
		r.addLocked(&r.tags, tag)
	}
	r.startLocked(c)
}

func (r *retries) addLocked(m *map[string]int64, key string) {
	if *m == nil {
		*m = make(map[string]int64)
	}
	r.last++
	(*m)[key] = r.last
	r.any.Store(true)
}

func (r *retries) startLocked(c *Client) {
	if !r.running {
		r.running = c.spawn(c.retryResets)
	}
}

// retryResets runs until nothing is pending or the client is closed.
func (c *Client) retryResets() {
	for wait := retryFirst; ; wait = min(2*wait, retryMax) {
		select {
		case <-c.ctx.Done():
			return
		case <-time.After(jittered(wait)):
		}
		for c.retryBatch(c.ctx) == nil {
			if c.retries.stopIfEmpty() {
				return
			}
		}
	}
}

// retryBatch attempts some of the pending resets. Its errors do not count for the breaker: its pace is its own.
func (c *Client) retryBatch(ctx context.Context) error {
	keys, tags := c.retries.batch()
	op, cancel := c.opContext(ctx)
	defer cancel()
	if len(keys) > 0 {
		if _, err := c.store.Delete(op, nil, slices.Collect(maps.Keys(keys))); err != nil {
			return err
		}
		c.feed.changed(entryID{}, slices.Collect(maps.Keys(keys))...)
		c.retries.done(c, keys, nil)
	}
	if len(tags) > 0 {
		all := slices.AppendSeq([]string{c.stampKey}, maps.Keys(tags))
		stamp, err := c.store.Advance(op, DefaultTTL, all)
		if err != nil {
			return err
		}
		c.feed.advanced(stamp, all[1:])
		c.retries.done(c, nil, tags)
	}
	return nil
}

// batch returns some of what is pending.
func (r *retries) batch() (keys, tags map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys = make(map[string]int64)
	for key, n := range r.keys {
		if len(keys) == retryBatch {
			break
		}
		keys[key] = n
	}
	return keys, maps.Clone(r.tags)
}

// done takes what has been reset off the pending ones, except where it has been asked for again.
func (r *retries) done(c *Client, keys, tags map[string]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.keys) + len(r.tags)
	maps.DeleteFunc(r.keys, func(key string, n int64) bool { return keys[key] == n })
	maps.DeleteFunc(r.tags, func(tag string, n int64) bool { return tags[tag] == n })
	after := len(r.keys) + len(r.tags)
	c.stats.resetRetries.Add(int64(before - after))
	c.stats.invalidations.Add(int64(len(keys) + min(len(tags), 1)))
	r.any.Store(after > 0)
}

func (r *retries) stopIfEmpty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running = len(r.keys)+len(r.tags) > 0
	r.any.Store(r.running)
	return !r.running
}

// holds says whether the reset of an entry, by its key or one of its tags, waits for the store.
func (r *retries) holds(key string, tags []string) bool {
	if !r.any.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[key] != 0 || r.holdsLocked(tags)
}

// holdsAny says whether the reset of one of tags waits for the store.
func (r *retries) holdsAny(tags []string) bool {
	if len(tags) == 0 || !r.any.Load() {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.holdsLocked(tags)
}

func (r *retries) holdsLocked(tags []string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool { return r.tags[tag] != 0 })
}

func (r *retries) pending() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys) + len(r.tags)
}

// lastResets is Close's last attempt at what is still pending.
func (c *Client) lastResets() error {
	var err error
	for err == nil && c.retries.pending() > 0 {
		err = c.retryBatch(context.Background())
	}
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("cachify: %d resets could not reach the store before the client was closed: "+
		"their entries live until they expire", c.retries.pending()), err)
}
