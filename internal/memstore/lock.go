package memstore

import (
	"context"
	"errors"
	"math/bits"
	"slices"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
)

// Lock takes what c claims, all or none, from nobody or from the holder with token from.
func (s *Store) Lock(ctx context.Context, c claim.Claim, from string) (fence int64, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	now := s.now()
	if fence, ok, err = s.take(c, from, now); ok {
		s.tidy(now)
	}
	return fence, ok, err
}

func (s *Store) take(c claim.Claim, from string, now int64) (fence int64, ok bool, err error) {
	until := deadline(now, c.TTL)
	locked := s.lockShards(c.Keys)
	defer s.unlockShards(locked)
	if c.Slots > 0 {
		ok, err = s.shard(c.Keys[0]).admit(c.Keys[0], c.Token, from, c.Slots, now, until)
		return 0, ok, err
	}
	for _, key := range c.Keys {
		e, err := s.shard(key).text(key, now)
		if err != nil || !takeable(e, c.Token, from) {
			return 0, false, err
		}
	}
	for _, key := range c.Keys {
		sh := s.shard(key)
		if e := sh.entries[key]; e.is(c.Token) {
			sh.expiry.set(&e.timer, until)
		} else {
			sh.put(key, c.Token, until, false)
		}
	}
	if len(c.Fences) > 0 {
		fence = s.fence(c.Keys)
	}
	return fence, true, nil
}

// takeable says whether token may have the lock whose entry is e.
func takeable(e *entry, token, from string) bool {
	return e.is(token) || from == "" && e == nil || from != "" && e.is(from)
}

// Extend makes each claim live for at least its TTL from now where its token holds all of it.
func (s *Store) Extend(ctx context.Context, claims []claim.Claim) (done []bool, errs []error) {
	done = make([]bool, len(claims))
	if err := ctx.Err(); err != nil {
		return done, slices.Repeat([]error{err}, len(claims))
	}
	now := s.now()
	for i, c := range claims {
		var err error
		if done[i], err = s.extend(c, now); err != nil {
			if errs == nil {
				errs = make([]error, len(claims))
			}
			errs[i] = err
		}
	}
	return done, errs
}

func (s *Store) extend(c claim.Claim, now int64) (bool, error) {
	until := deadline(now, c.TTL)
	locked := s.lockShards(c.Keys)
	defer s.unlockShards(locked)
	if held, err := s.held(c, now); !held {
		return false, err
	}
	for _, key := range c.Keys {
		sh := s.shard(key)
		if e := sh.entries[key]; c.Slots > 0 {
			sh.occupy(e, c.Token, max(until, e.slots()[c.Token]))
		} else {
			sh.expiry.set(&e.timer, max(until, e.until.Load()))
		}
	}
	return true, nil
}

// Unlock gives back what c.Token holds of c.
func (s *Store) Unlock(ctx context.Context, c claim.Claim) (ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := s.now()
	locked := s.lockShards(c.Keys)
	defer s.unlockShards(locked)
	ok = true
	for _, key := range c.Keys {
		gave, keyErr := s.shard(key).giveBack(key, c, now)
		ok, err = ok && gave, errors.Join(err, keyErr)
	}
	return ok, err
}

// giveBack tells of a key that was absent as well: somebody may wait for it who has not noticed that it expired.
// It needs the shard's lock.
func (sh *shard) giveBack(key string, c claim.Claim, now int64) (bool, error) {
	if c.Slots > 0 {
		return sh.leave(key, c.Token, now)
	}
	e, err := sh.text(key, now)
	if err != nil || e != nil && !e.is(c.Token) {
		return false, err
	}
	if e != nil {
		sh.remove(e)
	}
	sh.tell(key)
	return e != nil, nil
}

// Fence gives the fencing token of the holding c, if c.Token holds all of it.
func (s *Store) Fence(ctx context.Context, c claim.Claim) (fence int64, ok bool, err error) {
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	now := s.now()
	locked := s.lockShards(c.Keys)
	defer s.unlockShards(locked)
	if held, err := s.held(c, now); !held {
		return 0, false, err
	}
	return s.fence(c.Keys), true, nil
}

// Holders gives those who hold the lock or the semaphore at key, and how long each of them has left.
func (s *Store) Holders(ctx context.Context, key string, semaphore bool) (tokens []string, left []time.Duration, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	sh := s.shard(key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	now := s.now() // read under the lock, so that a renewal just before it leaves nobody more than its TTL
	if semaphore {
		slots, err := sh.semaphore(key, now)
		for token, until := range slots {
			tokens, left = append(tokens, token), append(left, remaining(now, until))
		}
		return tokens, left, err
	}
	e, err := sh.text(key, now)
	if e == nil {
		return nil, nil, err
	}
	return []string{e.value}, []time.Duration{remaining(now, e.until.Load())}, nil
}

// The functions below need the locks of the shards of their keys.

// held says whether c.Token holds all of c.
func (s *Store) held(c claim.Claim, now int64) (bool, error) {
	for _, key := range c.Keys {
		sh := s.shard(key)
		if c.Slots > 0 {
			slots, err := sh.semaphore(key, now)
			if _, there := slots[c.Token]; !there {
				return false, err
			}
			continue
		}
		if e, err := sh.text(key, now); err != nil || !e.is(c.Token) {
			return false, err
		}
	}
	return true, nil
}

// fence gives the number of the holding whose locks are at keys. One that has none yet takes the next. No two holdings
// have the same number, so the same one at all keys is that of a holding of all of them.
func (s *Store) fence(keys []string) int64 {
	fence := s.shard(keys[0]).entries[keys[0]].fence()
	if fence != 0 && !slices.ContainsFunc(keys, func(key string) bool { return s.shard(key).entries[key].fence() != fence }) {
		return fence
	}
	fence = s.nextFence()
	for _, key := range keys {
		sh := s.shard(key)
		e := sh.entries[key]
		sh.used.Add(-e.size())
		e.holding = &holding{fence: fence}
		sh.used.Add(e.size())
	}
	return fence
}

// nextFence counts for all keys at once, so nothing has to be remembered of any. The clock is for those who
// remember the numbers for longer than this process lives.
func (s *Store) nextFence() int64 {
	for {
		last := s.fences.Load()
		if next := max(last+1, clock()); s.fences.CompareAndSwap(last, next) {
			return next
		}
	}
}

// A shardSet is the shards that one call locks together, a bit for each.
type shardSet uint32

const _ shardSet = 1 << (shardCount - 1) // there is a bit for each

// lockShards locks the shards of keys in the order of their bits, which is one for all calls, so that no two wait for each other.
func (s *Store) lockShards(keys []string) shardSet {
	var set shardSet
	for _, key := range keys {
		set |= 1 << s.place(key)
	}
	for rest := set; rest != 0; rest &= rest - 1 {
		s.shards[bits.TrailingZeros32(uint32(rest))].mu.Lock()
	}
	return set
}

func (s *Store) unlockShards(set shardSet) {
	for ; set != 0; set &= set - 1 {
		s.shards[bits.TrailingZeros32(uint32(set))].mu.Unlock()
	}
}
