// Package memstore keeps entries, locks and stamps in the memory of the process. It is the store
// behind cachify.Memory, whose contract is the comment of cachify.Store.
//
// Keys are spread over shards, each with a mutex of its own, so every step on one key is atomic.
// Stamps live apart from them, because nearly every call reads a few and few calls write one.
// The store starts no goroutine: each write takes a few expired keys away, and evicts values while
// there is more in memory than the bound allows.
package memstore

import (
	"bytes"
	"context"
	"hash/maphash"
	"sync/atomic"
	"time"
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
}

// New returns an empty store that keeps at most about maxBytes of keys, values and tags, with what
// it needs to manage them. Values written by Set are evicted where there is more; leases, locks and
// tags never are, so they alone can take more than maxBytes. A value of more than an eighth of
// maxBytes is not kept.
func New(maxBytes int64) *Store {
	s := &Store{born: time.Now(), max: maxBytes, seed: maphash.MakeSeed()}
	for i := range s.shards {
		s.shards[i].entries = make(map[string]*entry)
		s.shards[i].used = &s.used
	}
	return s
}

// Open does nothing: there is nothing to start.
func (s *Store) Open() {}

// Close does nothing and returns nil: there is nothing to end, and the data stay for other clients.
func (s *Store) Close() error { return nil }

// Get reads keys and tags.
func (s *Store) Get(ctx context.Context, keys, tags []string) ([][]byte, []int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	now := s.now()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if value := s.shard(key).get(key, now); value != nil {
			values[i] = clone(value)
		}
	}
	return values, s.tags.read(tags, now), nil
}

// Lease is Get, but sets each key that is absent to lease for ttl.
func (s *Store) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string) ([][]byte, []int64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	now := s.now()
	values := make([][]byte, len(keys))
	for i, key := range keys {
		if value := s.shard(key).lease(key, lease, now, deadline(now, ttl)); value != nil {
			values[i] = clone(value)
		} else {
			s.tidy(now)
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
		keep := cost(key, values[i]) <= s.max/largestPart
		done[i] = s.shard(key).set(head, key, values[i], now, until, keep)
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
		done[i] = s.shard(key).expire(now, deadline(now, ttl), key, begins(head))
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
		done[i] = s.shard(key).delete(now, key, begins(head))
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
	s.tidy(now)
	return stamp, nil
}

// begins gives the condition of a call with head: a value that begins with it, any value for a nil head.
func begins(head []byte) func(value []byte) bool {
	return func(value []byte) bool { return bytes.HasPrefix(value, head) }
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

func (s *Store) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)%shardCount]
}

// now is never 0, so that a timer without a deadline is one that has expired.
func (s *Store) now() int64 { return int64(time.Since(s.born)) + 1 }

// clone copies a value on its way in or out. Unlike bytes.Clone it never gives nil, which means absent.
func clone(value []byte) []byte { return append([]byte{}, value...) }
