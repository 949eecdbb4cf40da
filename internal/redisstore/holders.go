package redisstore

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/redis/go-redis/v9"
)

// Holders implements the root package's Store. A key of another type is an error.
func (s *Store) Holders(ctx context.Context, key string, semaphore bool) (tokens []string, left []time.Duration, err error) {
	kind := "lock"
	if semaphore {
		kind = "semaphore"
	}
	call := redis.NewSliceCmd(ctx, scriptArgs(holdersScript, []string{key}, kind)...)
	if err := s.runScripts(ctx, call); err != nil {
		return nil, nil, failedKey(ctx, "holders", key, err)
	}
	pairs, err := call.Result()
	if err != nil {
		return nil, nil, failedKey(ctx, "holders", key, err)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		token, isText := pairs[i].(string)
		ms, isNumber := pairs[i+1].(int64)
		if !isText || !isNumber {
			return nil, nil, failedKey(ctx, "holders", key, fmt.Errorf("an answer of %T and %T", pairs[i], pairs[i+1]))
		}
		tokens, left = append(tokens, token), append(left, timeLeft(ms))
	}
	return tokens, left, nil
}

// timeLeft reads milliseconds that are rounded down: what is still there has more than none left.
func timeLeft(ms int64) time.Duration {
	switch {
	case ms < 0:
		return NoExpiry
	case ms > int64(math.MaxInt64/time.Millisecond):
		return math.MaxInt64
	}
	return max(time.Duration(ms)*time.Millisecond, 1)
}
