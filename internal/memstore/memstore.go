// Package memstore keeps entries, locks, semaphores and stamps in the memory of the process. It is the store
// behind cachify.Memory, whose contract is the comment of cachify.Store.
//
// Keys are spread over shards, each with a mutex of its own, so every step on one key is atomic, and so is one on the
// several keys of a claim, which holds all their mutexes.
// Stamps live apart from them, because nearly every call reads a few and few calls write one.
// The store starts no goroutine: each write takes a few expired keys away, and evicts values while
// there is more in memory than the bound allows.
package memstore

import (
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	shardCount = 32

	// One value may take this part of the bound at most, so that it can't push out everything else.
	largestPart = 8
)

// A Store is a bounded map with times to live. It is safe for concurrent use.
type Store struct {
	born   time.Time // deadlines count from here, on the monotonic clock
	max    int64
	seed   maphash.Seed
	shards [shardCount]shard
	tags   stamps
	used   atomic.Int64  // bytes in all shards
	turn   atomic.Uint32 // the shard that the next write tidies
	fences atomic.Int64  // the last fencing token

	followers followers
}

// New returns an empty store that keeps at most about maxBytes of keys, values and tags, with what
// it needs to manage them. Values written by Set are evicted where there is more; leases, locks, semaphores and
// tags never are, so they alone can take more than maxBytes. A value of more than an eighth of
// maxBytes is not kept.
func New(maxBytes int64) *Store {
	s := &Store{born: time.Now(), max: maxBytes, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].entries = make(map[string]*entry)
		s.shards[i].used = &s.used
		s.shards[i].followers = &s.followers
	}
	return s
}

// Open does nothing: there is nothing to start.
func (s *Store) Open() {}

// Close does nothing and returns nil: there is nothing to end, and the data stay for other clients.
func (s *Store) Close() error { return nil }

// Get reads keys and tags.
func (s *Store) Get(ctx context.Context, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	return s.read(ctx, keys, tags, left, func(key string, now int64) (seen, error) { return s.shard(key).get(key, now) })
}

// View reads like Get, without a copy: the caller must not write to the values.
func (s *Store) View(ctx context.Context, keys, tags []string) ([][]byte, []int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	now := s.now()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		found, err := s.shard(key).get(key, now)
		switch {
		case err != nil:
			return nil, nil, err
		case found.there && found.value != "":
			values[i] = unsafe.Slice(unsafe.StringData(found.value), len(found.value))
		case found.there:
			values[i] = []byte{}
		}
	}
	return values, s.tags.read(tags, now), nil
}

// Lease is Get, but sets each key that is absent to lease for ttl.
func (s *Store) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	return s.read(ctx, keys, tags, left, func(key string, now int64) (seen, error) {
		found, err := s.shard(key).lease(key, lease, now, deadline(now, ttl))
		if err == nil && !found.there {
			s.tidy(now)
		}
		return found, err
	})
}

func (s *Store) read(ctx context.Context, keys, tags []string, left []time.Duration, look func(key string, now int64) (seen, error)) ([][]byte, []int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	now := s.now()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		found, err := look(key, now)
		if err != nil {
			return nil, nil, err
		}
		if found.there {
			values[i] = []byte(found.value)
		}
		if left != nil && found.there {
			left[i] = remaining(now, found.until)
		}
	}
	return values, s.tags.read(tags, now), nil
}

// Set writes values to keys where head allows it, then sees to it that tags exist.
func (s *Store) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	now := s.now()
	done := make([]bool, len(keys))
	longest := now
	for i, key := range keys {
		until := deadline(now, ttls[i])
		longest = max(longest, until)
		keep := cost(key, len(values[i])) <= s.max/largestPart
		var err error
		if done[i], err = s.shard(key).set(head, key, values[i], now, until, keep); err != nil {
			return nil, nil, err
		}
		s.tidy(now)
	}
	return done, s.tags.ensure(tags, now, longest), nil
}

// Expire sets the time to live of keys anew where head allows it.
func (s *Store) Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := s.now()
	done := make([]bool, len(keys))
	for i, key := range keys {
		var err error
		if done[i], err = s.shard(key).expire(head, key, now, deadline(now, ttl)); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// Delete removes keys where head allows it.
func (s *Store) Delete(ctx context.Context, head []byte, keys []string) ([]bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := s.now()
	done := make([]bool, len(keys))
	for i, key := range keys {
		var err error
		if done[i], err = s.shard(key).delete(head, key, now); err != nil {
			return nil, err
		}
	}
	return done, nil
}

// Advance takes the next stamp and writes it to tags.
func (s *Store) Advance(ctx context.Context, ttl time.Duration, tags []string) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	now := s.now()
	stamp := s.tags.advance(tags, now, deadline(now, ttl))
	s.followers.advanced(stamp, tags)
	s.tidy(now)
	return stamp, nil
}

// tidy is what each write does for the store as a whole: it takes away a few keys that have expired,
// so that those go that nobody asks for again, and evicts values while there is more than the bound.
// It goes from shard to shard, one value each, so that the shards are evicted from alike. Two rounds
// without a find mean that what is left can't be evicted: the first may only have unmarked the visited.
func (s *Store) tidy(now int64) {
	s.tags.reclaim(now)
	for idle := 0; idle < 2*shardCount; idle++ {
		sh := &s.shards[s.turn.Add(1)%shardCount]
		if sh.tidy(now, s.full) {
			idle = 0
		}
		if !s.full() {
			return
		}
	}
}

func (s *Store) full() bool { return s.used.Load()+s.tags.used.Load() > s.max }

func (s *Store) shard(key string) *shard { return &s.shards[s.place(key)] }

func (s *Store) place(key string) uint64 { return maphash.String(s.seed, key) % shardCount }

// now is never 0, so that a timer without a deadline is one that has expired.
func (s *Store) now() int64 { return int64(time.Since(s.born)) + 1 }
