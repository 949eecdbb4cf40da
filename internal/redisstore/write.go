package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Set implements the root package's Store. A key of another type is overwritten if head is nil, and matches no head.
// Tags are seen to before the values, so that no value is there without its tags.
func (s *Store) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) (done []bool, stamps []int64, err error) {
	calls := make([]redis.Cmder, 0, len(keys)+1)
	if len(tags) > 0 {
		calls = append(calls, nil) // the script that keeps them, once it is known for how long
	}
	longest := int64(1)
	for i := range keys {
		ms, err := millis(ttls[i])
		if err != nil {
			return nil, nil, err
		}
		if ms < 0 || longest > 0 && ms > longest {
			longest = ms
		}
		args := scriptArgs(setScript, keys[i:i+1], values[i], ms)
		calls = append(calls, redis.NewIntCmd(ctx, withHead(args, head)...))
	}
	var kept *redis.StringSliceCmd
	if len(tags) > 0 {
		kept = redis.NewStringSliceCmd(ctx, scriptArgs(keepScript, tags, longest)...)
		calls[0] = kept
	}
	if len(calls) == 0 {
		return nil, nil, nil
	}
	if err := s.runScripts(ctx, calls...); err != nil {
		return nil, nil, failed(ctx, "set", err)
	}
	if kept != nil {
		if stamps, err = stampsOf(kept, len(tags)); err != nil {
			return nil, nil, failed(ctx, "set: tags", err)
		}
	}
	done, err = doneOf(ctx, "set", keys, calls[len(calls)-len(keys):])
	return done, stamps, err
}

// Expire implements the root package's Store. A key of another type matches no head.
func (s *Store) Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) (done []bool, err error) {
	ms, err := millis(ttl)
	if err != nil {
		return nil, err
	}
	return s.runEach(ctx, "expire", expireScript, keys, head, ms)
}

// Delete implements the root package's Store. A key of another type is removed if head is nil, and matches no head. If
// an attempt is repeated after a lost reply, done says that nothing was there.
func (s *Store) Delete(ctx context.Context, head []byte, keys []string) (done []bool, err error) {
	for _, key := range keys {
		s.expected.note(key, false)
	}
	return s.runEach(ctx, "delete", deleteScript, keys, head)
}

// runEach runs a script for each of keys, in one round trip.
func (s *Store) runEach(ctx context.Context, what, sha string, keys []string, head []byte, argv ...any) ([]bool, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	calls := make([]redis.Cmder, len(keys))
	for i := range keys {
		calls[i] = redis.NewIntCmd(ctx, withHead(scriptArgs(sha, keys[i:i+1], argv...), head)...)
	}
	if err := s.runScripts(ctx, calls...); err != nil {
		return nil, failed(ctx, what, err)
	}
	return doneOf(ctx, what, keys, calls)
}

func doneOf(ctx context.Context, what string, keys []string, calls []redis.Cmder) ([]bool, error) {
	done := make([]bool, len(keys))
	for i, key := range keys {
		n, err := calls[i].(*redis.IntCmd).Result()
		if err != nil {
			return nil, failedKey(ctx, what, key, err)
		}
		done[i] = n == 1
	}
	return done, nil
}

// Advance implements the root package's Store.
func (s *Store) Advance(ctx context.Context, ttl time.Duration, tags []string) (stamp int64, err error) {
	ms, err := millis(ttl)
	if err != nil {
		return 0, err
	}
	if len(tags) == 0 {
		return 0, errors.New("cachify: redis: advance: no tag that hands out stamps")
	}
	call := redis.NewStringCmd(ctx, scriptArgs(advanceScript, tags, ms)...)
	if err := s.runScripts(ctx, call); err != nil {
		return 0, failed(ctx, "advance", err)
	}
	text, err := call.Result()
	if err == nil {
		if stamp = parseStamp(text); stamp == 0 {
			err = fmt.Errorf("%s is no stamp", strconv.Quote(text))
		}
	}
	if err != nil {
		return 0, failed(ctx, "advance", err)
	}
	return stamp, nil
}
