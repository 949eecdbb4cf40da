package cachify

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	touchSlots = 4096
	touchPart  = 10 // an entry is touched at most once in this part of its time to live
)

// touches remembers when entries were touched last, by a hash of the key, in a table of fixed size: an entry whose slot another one has
// taken is touched once too often, which does no harm.
type touches struct {
	seed  maphash.Seed
	start time.Time
	slots [touchSlots]atomic.Uint64 // 32 bits of the hash, 32 bits of when, in parts of the time to live
}

func newTouches(o *CachedOptions) *touches {
	if !o.TouchOnHit {
		return nil
	}
	return &touches{seed: maphash.MakeSeed(), start: time.Now()}
}

// due says whether key, whose entry has that time to live, is to be touched, and takes note of it.
func (t *touches) due(key string, ttl time.Duration) bool {
	every := max(ttl/touchPart, time.Millisecond)
	hash := maphash.String(t.seed, key)
	mark := hash&^(1<<32-1) | uint64(uint32(time.Since(t.start)/every)+1)
	return t.slots[hash%touchSlots].Swap(mark) != mark
}

// touch has an entry live for its whole time to live again: the one that it was stored with, which SetTTL or Jitter may have made another one
// than the wrapper's. So a touch never shortens what is left.
func (c *Cached[K, V]) touch(ctx context.Context, key string, f *found) {
	ttl := time.Duration(f.softExpiry-f.created) * time.Microsecond
	if f.softExpiry == 0 || !c.touches.due(key, ttl) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	c.client.spawn(func() {
		op, cancel := c.client.opContext(ctx)
		defer cancel()
		_, err := c.client.store.Expire(op, f.head, ttl, []string{key})
		_ = c.report(ctx, err)
	})
}
