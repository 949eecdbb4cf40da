package cachify

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
)

const (
	touchSlots = 4096
	touchPart  = 10 // an entry is touched at most once in this part of its TTL
)

// touches remembers when entries were touched last, by a hash of the key, in a table of fixed size: an entry whose slot another one has
// taken is touched once too often, which does no harm.
type touches struct {
	seed  maphash.Seed
	every time.Duration
	start time.Time
	slots [touchSlots]atomic.Uint64 // 32 bits of the hash, 32 bits of when, in parts of every
}

func newTouches(o *CachedOptions) *touches {
	if !o.TouchOnHit {
		return nil
	}
	return &touches{seed: maphash.MakeSeed(), every: max(o.TTL/touchPart, time.Millisecond), start: time.Now()}
}

// due says whether key is to be touched, and takes note of it.
func (t *touches) due(key string) bool {
	hash := maphash.String(t.seed, key)
	mark := hash&^(1<<32-1) | uint64(uint32(time.Since(t.start)/t.every)+1)
	return t.slots[hash%touchSlots].Swap(mark) != mark
}

// touch has the entry that begins with head live for its whole TTL again.
func (c *Cached[K, V]) touch(ctx context.Context, key string, head []byte) {
	if !c.touches.due(key) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	c.client.spawn(func() {
		op, cancel := c.client.opContext(ctx)
		defer cancel()
		_, err := c.client.store.Expire(op, head, c.withJitter(c.opts.TTL), []string{key})
		_ = c.report(ctx, err)
	})
}
