package memstore

import (
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// What an entry takes beyond its key and value: the struct, its places in the map and in the
	// heap of deadlines, and what allocation rounds up. TestOverhead measures it.
	entryOverhead = 160

	// What a lock's fencing token takes.
	fenceOverhead = 16

	// How many expired keys a write takes away. More than one, so that they go faster than they come.
	reclaimStep = 4
)

// An entry is a key with its value, or a semaphore.
type entry struct {
	timer
	value     string // holds any bytes: nobody can change them, so a reader may copy them after it has let go of the shard
	holding   *holding
	evictable bool // written by Set; leases, locks and semaphores are not
	visited   bool // read since the hand of the sieve came by
	newer     *entry
	older     *entry
}

// A holding is what only the entries of semaphores have, and those of locks with a fencing token. Apart from the
// others, it leaves them small.
type holding struct {
	slots map[string]int64 // the holders of a semaphore, with their deadlines; nil for a lock
	fence int64            // the fencing token of a lock
}

// A shard holds a part of the keys.
type shard struct {
	mu        sync.Mutex
	entries   map[string]*entry
	expiry    timers
	sieve     sieve
	watchers  map[string]map[chan struct{}]struct{}
	used      *atomic.Int64
	followers *followers
	_         [24]byte // shards fill whole cache lines, so that the lock of one doesn't slow its neighbour
}

// A seen is what was found at a key.
type seen struct {
	value string
	there bool
	until int64
}

// get gives the value of key, if it is there.
func (sh *shard) get(key string, now int64) (s seen, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.visit(key, now)
}

// lease is get, but a key that is absent is set to lease in the same step.
func (sh *shard) lease(key string, lease []byte, now, until int64) (s seen, err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s, err = sh.visit(key, now)
	if !s.there && err == nil {
		sh.put(key, string(lease), until, false)
	}
	return s, err
}

// set writes value where head allows it. If keep is false the value is too large to keep: it is
// written and evicted in one step.
func (sh *shard) set(head []byte, key string, value []byte, now, until int64, keep bool) (bool, error) {
	var own string
	if keep {
		own = string(value) // before the lock: it may take long
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, err := sh.text(key, now)
	if err != nil {
		return false, err
	}
	if len(head) > 0 && !e.begins(head) {
		return len(value) >= len(head) && e.begins(value[:len(head)]), nil
	}
	if keep {
		sh.put(key, own, until, true)
	} else if e != nil {
		sh.remove(e)
	}
	sh.tell(key)
	sh.followers.changed(key, value[:min(followedHead, len(value))])
	return true, nil
}

// expire sets the deadline of key where head allows it.
func (sh *shard) expire(head []byte, key string, now, until int64) (bool, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e, err := sh.text(key, now)
	if err != nil || !e.begins(head) {
		return false, err
	}
	sh.expiry.set(&e.timer, until)
	return true, nil
}

// delete removes key where head allows it, without a head whatever is there. It tells of a key that was absent as well:
// somebody may wait for it who has not noticed that it expired.
func (sh *shard) delete(head []byte, key string, now int64) (bool, error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.live(key, now)
	if e != nil && len(head) > 0 {
		if e, err := sh.text(key, now); err != nil || !e.begins(head) {
			return false, err
		}
	}
	if e != nil {
		sh.remove(e)
	}
	sh.tell(key)
	sh.followers.changed(key, nil)
	return e != nil, nil
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
		sh.lapse(sh.entries[t.key], now)
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

// live gives the entry of key, nil if it is absent. What has expired of it goes here.
func (sh *shard) live(key string, now int64) *entry {
	e := sh.entries[key]
	if e != nil && e.expired(now) {
		sh.lapse(e, now)
		return sh.entries[key]
	}
	return e
}

// lapse takes away what has expired of an entry whose timer has ended: all of it, or those of a semaphore's holders whose
// time is over.
func (sh *shard) lapse(e *entry, now int64) {
	first := int64(never)
	for token, until := range e.slots() {
		if until <= now {
			sh.vacate(e, token)
		} else {
			first = min(first, until)
		}
	}
	if len(e.slots()) == 0 {
		sh.remove(e)
		return
	}
	sh.expiry.set(&e.timer, first)
}

// text is live for a key that must not be that of a semaphore.
func (sh *shard) text(key string, now int64) (*entry, error) {
	e := sh.live(key, now)
	if e != nil && e.slots() != nil {
		return nil, errSemaphore(key)
	}
	return e, nil
}

func (sh *shard) visit(key string, now int64) (seen, error) {
	e, err := sh.text(key, now)
	if e == nil {
		return seen{}, err
	}
	e.visited = true
	return seen{e.value, true, e.until.Load()}, nil
}

// put gives key a value, which begins a life of its own: nothing is left of what the key was before.
func (sh *shard) put(key, value string, until int64, evictable bool) {
	e := sh.entries[key]
	if e == nil {
		e = sh.add(key)
	} else {
		sh.used.Add(-e.size())
	}
	e.value, e.holding = value, nil
	sh.used.Add(e.size())
	sh.expiry.set(&e.timer, until)
	if evictable == e.evictable {
		return
	}
	if e.evictable = evictable; evictable {
		sh.sieve.insert(e)
	} else {
		sh.sieve.remove(e)
	}
}

// add makes an entry that is yet to be filled, counted and given its time.
func (sh *shard) add(key string) *entry {
	// The clone keeps a key that is cut from a large text from holding all of it in memory.
	e := &entry{timer: newTimer(strings.Clone(key))}
	sh.entries[e.key] = e
	return e
}

func (sh *shard) remove(e *entry) {
	delete(sh.entries, e.key)
	sh.used.Add(-e.size())
	sh.expiry.drop(&e.timer)
	if e.evictable {
		sh.sieve.remove(e)
	}
}

// begins says whether there is a value and it begins with head.
func (e *entry) begins(head []byte) bool {
	return e != nil && len(e.value) >= len(head) && e.value[:len(head)] == string(head)
}

// is says whether there is a value and it is token, the whole of it.
func (e *entry) is(token string) bool { return e != nil && e.value == token }

// slots gives the holders of a semaphore with their deadlines, nil for anything else.
func (e *entry) slots() map[string]int64 {
	if e.holding == nil {
		return nil
	}
	return e.holding.slots
}

// fence gives the fencing token of a lock's holding, 0 if it has none yet.
func (e *entry) fence() int64 {
	if e.holding == nil {
		return 0
	}
	return e.holding.fence
}

// size is what the entry counts for.
func (e *entry) size() int64 {
	size := cost(e.key, len(e.value))
	switch slots := e.slots(); {
	case slots != nil:
		size += semaphoreOverhead
		for token := range slots {
			size += slotCost(token)
		}
	case e.holding != nil:
		size += fenceOverhead
	}
	return size
}

func cost(key string, value int) int64 {
	return int64(len(key)+value) + entryOverhead
}
