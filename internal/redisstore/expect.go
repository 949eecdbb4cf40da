package redisstore

import (
	"hash/maphash"
	"sync/atomic"
)

const (
	// hitsInARow is how many times in a row a key must have had a value for the next one to be expected. It bounds what a
	// wrong guess costs: one more round trip in so many.
	hitsInARow = 64

	expectSlots = 4096
)

// expected knows keys that are likely to have a value, so that Lease can read first: MGET of key and tags is one command, where
// SET NX GET and MGET are two. A key that shares its slot with another may go unknown, never the reverse.
type expected struct {
	seed  maphash.Seed
	slots [expectSlots]atomic.Uint64 // a hash of the key, and in the low bits how often in a row it had a value
}

func newExpected() *expected { return &expected{seed: maphash.MakeSeed()} }

// slot gives where key is noted, and how: without its count.
func (e *expected) slot(key string) (*atomic.Uint64, uint64) {
	h := maphash.String(e.seed, key)
	return &e.slots[h%expectSlots], h &^ (2*hitsInARow - 1)
}

func (e *expected) has(key string) bool {
	slot, h := e.slot(key)
	return slot.Load() == h|hitsInARow
}

// note notes that key had a value, or had none.
func (e *expected) note(key string, found bool) {
	slot, h := e.slot(key)
	was := slot.Load()
	same := was&^(2*hitsInARow-1) == h
	switch {
	case !found && same:
		slot.Store(0)
	case found && !same:
		slot.Store(h | 1)
	case found && was != h|hitsInARow:
		slot.Store(was + 1)
	}
}
