package memstore

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// What an entry takes beyond its key and value: the struct, its places in the map and in the
	// heap of deadlines, and what allocation rounds up. TestOverhead measures it.
	entryOverhead = 160

	// How many expired keys a write takes away. More than one, so that they go faster than they come.
	reclaimStep = 4
)

// An entry is a key with its value. Nobody changes the bytes of value: a write puts others in their
// place, so a reader may copy them after it has let go of the shard.
type entry struct {
	timer
	value     []byte
	evictable bool // written by Set; leases and locks are not
	visited   bool // read since the hand of the sieve came by
	newer     *entry
	older     *entry
}

// A shard holds a part of the keys.
type shard struct {
	mu       sync.Mutex
	entries  map[string]*entry
	expiry   timers
	sieve    sieve
	watchers map[string]map[chan struct{}]struct{}
	used     *atomic.Int64
	_        [32]byte // shards fill whole cache lines, so that the lock of one doesn't slow its neighbour
}

// get gives the value of key, nil if it is absent. The bytes are the store's own.
func (sh *shard) get(key string, now int64) []byte {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.visit(key, now)
}

// lease is get, but a key that is absent is set to lease in the same step.
func (sh *shard) lease(key string, lease []byte, now, until int64) []byte {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if value := sh.visit(key, now); value != nil {
		return value
	}
	sh.put(key, clone(lease), until, false)
	return nil
}

// set writes value where head allows it. If keep is false the value is too large to keep: it is
// written and evicted in one step.
func (sh *shard) set(head []byte, key string, value []byte, now, until int64, keep bool) bool {
	var own []byte
	if keep {
		own = clone(value) // before the lock: it may take long
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.live(key, now)
	if len(head) > 0 && (e == nil || !bytes.HasPrefix(e.value, head)) {
		return e != nil && len(value) >= len(head) && bytes.HasPrefix(e.value, value[:len(head)])
	}
	if keep {
		sh.put(key, own, until, true)
	} else if e != nil {
		sh.remove(e)
	}
	sh.tell(key)
	return true
}

// expire sets the deadline of key where its value meets the condition.
func (sh *shard) expire(now, until int64, key string, meets func([]byte) bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.live(key, now)
	if e == nil || !meets(e.value) {
		return false
	}
	sh.expiry.set(&e.timer, until)
	return true
}

// delete removes key where its value meets the condition. It tells of a key that was absent as well:
// somebody may wait for it who has not noticed that it expired.
func (sh *shard) delete(now int64, key string, meets func([]byte) bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.live(key, now)
	if e != nil && !meets(e.value) {
		return false
	}
	if e != nil {
		sh.remove(e)
	}
	sh.tell(key)
	return e != nil
}

// tidy takes away a few expired keys, and one value if full says so. It reports whether it found any.
func (sh *shard) tidy(now int64, full func() bool) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	found := false
	for range reclaimStep {
		t := sh.expiry.due(now)
		if t == nil {
			break
		}
		sh.remove(sh.entries[t.key])
		found = true
	}
	if full() {
		if e := sh.sieve.victim(); e != nil {
			sh.remove(e)
			found = true
		}
	}
	return found
}

// The functions below need the shard's lock.

// live gives the entry of key, nil if it is absent. One that has expired goes here.
func (sh *shard) live(key string, now int64) *entry {
	e := sh.entries[key]
	if e != nil && e.expired(now) {
		sh.remove(e)
		return nil
	}
	return e
}

func (sh *shard) visit(key string, now int64) []byte {
	e := sh.live(key, now)
	if e == nil {
		return nil
	}
	e.visited = true
	return e.value
}

func (sh *shard) put(key string, value []byte, until int64, evictable bool) {
	e := sh.entries[key]
	if e == nil {
		// The clone keeps a key that is cut from a large text from holding all of it in memory.
		e = &entry{timer: newTimer(strings.Clone(key))}
		sh.entries[e.key] = e
	} else {
		sh.used.Add(-cost(key, e.value))
	}
	e.value = value
	sh.used.Add(cost(key, value))
	sh.expiry.set(&e.timer, until)
	if evictable && !e.evictable {
		e.evictable = true
		sh.sieve.insert(e)
	}
}

func (sh *shard) remove(e *entry) {
	delete(sh.entries, e.key)
	sh.used.Add(-cost(e.key, e.value))
	sh.expiry.drop(&e.timer)
	if e.evictable {
		sh.sieve.remove(e)
	}
}

func cost(key string, value []byte) int64 {
	return int64(len(key)+len(value)) + entryOverhead
}
