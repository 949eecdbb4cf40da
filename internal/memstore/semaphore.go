package memstore

import (
	"fmt"

	"github.com/go-cachify/cachify/internal/claim"
)

const (
	// What a semaphore takes beyond an entry, and what each of its holders takes beyond the token: the map and its places.
	// TestOverhead measures it.
	semaphoreOverhead = 240
	slotOverhead      = 64
)

// A semaphore is an entry that has slots, the tokens of its holders with their deadlines, in place of a value. There is always a
// holder: the last one to leave takes the entry along. The entry's timer ends no later than the first of
// the holders does; what has expired then goes, and the timer is set again for those that are left.

// errNotSemaphore and errSemaphore are for a key that is used as two things.
func errNotSemaphore(key string) error {
	return fmt.Errorf("cachify: memory: key %q: not a semaphore: %w", key, claim.ErrWrongType)
}

func errSemaphore(key string) error {
	return fmt.Errorf("cachify: memory: key %q: a semaphore: %w", key, claim.ErrWrongType)
}

// The functions below need the shard's lock.

// semaphore gives the holders of the semaphore at key, nil if there are none.
func (sh *shard) semaphore(key string, now int64) (map[string]int64, error) {
	e := sh.live(key, now)
	if e == nil {
		return nil, nil
	}
	if e.slots() == nil {
		return nil, errNotSemaphore(key)
	}
	return e.slots(), nil
}

// admit gives token a slot of the semaphore at key if fewer than size are taken, or that of the holder from. A token that has
// one keeps it; that of from is then free.
func (sh *shard) admit(key, token, from string, size int, now, until int64) (bool, error) {
	slots, err := sh.semaphore(key, now)
	if err != nil {
		return false, err
	}
	_, mine := slots[token]
	_, handed := slots[from]
	switch {
	case handed:
		sh.vacate(sh.entries[key], from)
		if mine {
			defer sh.tell(key)
		}
	case !mine && (from != "" || len(slots) >= size):
		return false, nil
	}
	e := sh.entries[key]
	if e == nil {
		e = sh.add(key)
		e.holding = &holding{slots: make(map[string]int64)}
		e.until.Store(never)
		sh.used.Add(e.size())
	}
	sh.occupy(e, token, until)
	return true, nil
}

// leave takes token's slot away. Who watches the semaphore is told in any case: a slot may have expired that nobody has noticed.
func (sh *shard) leave(key, token string, now int64) (bool, error) {
	slots, err := sh.semaphore(key, now)
	if err != nil {
		return false, err
	}
	_, there := slots[token]
	if there {
		e := sh.entries[key]
		sh.vacate(e, token)
		if len(e.slots()) == 0 {
			sh.remove(e)
		}
	}
	sh.tell(key)
	return there, nil
}

// occupy gives token a slot until the given time, or sets the time of the slot it has.
func (sh *shard) occupy(e *entry, token string, until int64) {
	if _, there := e.slots()[token]; !there {
		sh.used.Add(slotCost(token))
	}
	e.slots()[token] = until
	sh.expiry.set(&e.timer, min(until, e.until.Load()))
}

func (sh *shard) vacate(e *entry, token string) {
	delete(e.slots(), token)
	sh.used.Add(-slotCost(token))
}

func slotCost(token string) int64 { return int64(len(token)) + slotOverhead }
