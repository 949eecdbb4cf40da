package memstore

import (
	"context"
	"time"
)

// Lock sets key to token for ttl if it is absent, and says whether key holds token now.
func (s *Store) Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := s.now()
	holder := s.shard(key).lease(key, []byte(token), now, deadline(now, ttl))
	if holder == nil {
		s.tidy(now)
		return true, nil
	}
	if string(holder) != token {
		return false, nil
	}
	return s.Extend(ctx, key, token, ttl)
}

// Extend sets the time to live of a lock that holds token anew.
func (s *Store) Extend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	now := s.now()
	return s.shard(key).expire(now, deadline(now, ttl), key, is(token)), nil
}

// Unlock removes a lock that holds token.
func (s *Store) Unlock(ctx context.Context, key, token string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	return s.shard(key).delete(s.now(), key, is(token)), nil
}

// is gives the condition of a call for a lock: a value that is token, the whole of it.
func is(token string) func(value []byte) bool {
	return func(value []byte) bool { return string(value) == token }
}
