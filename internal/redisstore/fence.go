package redisstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
)

// fenceTTL is how long a fencing token is remembered. After that the server's clock keeps the next one greater.
const fenceTTL = 24 * time.Hour

// Fence implements the root package's Store. A lock of another type is an error; a key of c.Fences that holds anything
// else than a fencing token counts as absent, whatever its type, and is overwritten.
func (s *Store) Fence(ctx context.Context, c claim.Claim) (fence int64, ok bool, err error) {
	if err := checkHolder(&c); err != nil {
		return 0, false, err
	}
	if len(c.Fences) == 0 {
		return 0, false, fmt.Errorf("cachify: redis: fence: the claim of keys %q has no keys for fencing tokens", c.Keys)
	}
	number := fencing(ctx, &c)
	if err := s.runScripts(ctx, number); err != nil {
		return 0, false, failedClaim(ctx, "fence", c.Keys, err)
	}
	return fenceOf(ctx, &c, number)
}

func fencing(ctx context.Context, c *claim.Claim) *redis.StringCmd {
	keys := slices.Concat(c.Keys, c.Fences)
	return redis.NewStringCmd(ctx, scriptArgs(fenceScript, keys, c.Token, fenceTTL.Milliseconds())...)
}

func fenceOf(ctx context.Context, c *claim.Claim, number *redis.StringCmd) (fence int64, ok bool, err error) {
	text, err := number.Result()
	if err == redis.Nil {
		return 0, false, nil
	}
	if err == nil {
		if fence = parseStamp(text); fence == 0 {
			err = fmt.Errorf("%s is no fencing token", strconv.Quote(text))
		}
	}
	if err != nil {
		return 0, false, failedClaim(ctx, "fence", c.Keys, err)
	}
	return fence, true, nil
}
