package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
)

// Lock implements the root package's Store. A key of another type is an error. If an error comes after the lock was taken, as
// when its fencing token can't be had, the lock stays taken.
func (s *Store) Lock(ctx context.Context, c claim.Claim, from string) (fence int64, ok bool, err error) {
	ms, err := checkClaim(&c)
	if err != nil {
		return 0, false, err
	}
	take := redis.NewCmd(ctx, taking(&c, ms, from)...)
	calls := append(make([]redis.Cmder, 0, 2), take)
	var number *redis.StringCmd
	if len(c.Fences) > 0 {
		number = fencing(ctx, &c)
		calls = append(calls, number)
	}
	if err := s.runInOrder(ctx, calls...); err != nil {
		return 0, false, failedClaim(ctx, "lock", c.Keys, err)
	}
	ok, err = answer(ctx, "lock", c.Keys, take)
	if !ok && err == nil && len(c.Keys) > 1 {
		err = errors.Join(s.wrongTypes(ctx, "lock", c.Keys)...)
	}
	if !ok || number == nil {
		return 0, ok, err
	}
	fence, ok, err = fenceOf(ctx, &c, number)
	if err == nil && !ok {
		err = failedClaim(ctx, "lock", c.Keys, errors.New("lost before its fencing token was taken"))
	}
	return fence, ok, err
}

// taking gives the arguments of the script that takes c.
func taking(c *claim.Claim, ms int64, from string) []any {
	switch {
	case c.Slots > 0:
		return scriptArgs(enterScript, c.Keys, c.Token, ms, c.Slots, from)
	case from != "":
		return scriptArgs(passScript, c.Keys, c.Token, ms, from)
	case ms < 0:
		return scriptArgs(lockForeverScript, c.Keys, c.Token, "set")
	}
	return scriptArgs(obtainScript, c.Keys, c.Token, len(c.Token)+1, ms)
}

// Unlock implements the root package's Store. If an attempt is repeated after a lost reply, it says that nothing was there.
func (s *Store) Unlock(ctx context.Context, c claim.Claim) (bool, error) {
	if err := checkHolder(&c); err != nil {
		return false, err
	}
	calls := s.leaving(ctx, &c)
	if err := s.runInOrder(ctx, calls...); err != nil {
		return false, failedClaim(ctx, "unlock", c.Keys, err)
	}
	all := true
	for _, call := range calls {
		script, ok := call.(*redis.Cmd)
		if !ok {
			continue // a PUBLISH: a user who may not can still unlock
		}
		ok, err := answer(ctx, "unlock", c.Keys, script)
		if err != nil {
			return false, err
		}
		all = all && ok
	}
	if !all && c.Slots == 0 {
		return false, errors.Join(s.wrongTypes(ctx, "unlock", c.Keys)...)
	}
	return all, nil
}

// leaving gives the commands that give c back: one for each key, and one or more that tell of it. redislock's script for
// several keys would release none if one was lost.
func (s *Store) leaving(ctx context.Context, c *claim.Claim) []redis.Cmder {
	if c.Slots > 0 {
		return []redis.Cmder{redis.NewCmd(ctx, scriptArgs(leaveScript, c.Keys, c.Token)...)}
	}
	calls := make([]redis.Cmder, 0, 2*len(c.Keys))
	for i := range c.Keys {
		calls = append(calls, redis.NewCmd(ctx, scriptArgs(releaseScript, c.Keys[i:i+1], c.Token)...))
	}
	if !s.single { // a PUBLISH would go to any node, and so perhaps come first
		return append(calls, redis.NewCmd(ctx, scriptArgs(notifyScript, c.Keys)...))
	}
	for _, key := range c.Keys {
		calls = append(calls, redis.NewIntCmd(ctx, "publish", key, ""))
	}
	return calls
}

// answer reads what a script says that returns 1 or OK for yes, 0 or nothing for no.
func answer(ctx context.Context, what string, keys []string, call *redis.Cmd) (bool, error) {
	v, err := call.Result()
	switch {
	case err == redis.Nil:
		return false, nil
	case err != nil:
		return false, failedClaim(ctx, what, keys, err)
	}
	return v == "OK" || v == int64(1), nil
}

// wrongTypes says which of keys are of another type than a lock, where redislock's scripts do not: they take those for
// absent, or do not get as far. It costs a round trip, and gives nothing if it can't find out.
func (s *Store) wrongTypes(ctx context.Context, what string, keys []string) []error {
	if len(keys) == 0 {
		return nil
	}
	calls := make([]redis.Cmder, len(keys))
	for i, key := range keys {
		calls[i] = redis.NewIntCmd(ctx, "strlen", key)
	}
	if s.exec(ctx, calls...) != nil {
		return nil
	}
	errs := make([]error, len(keys))
	for i, key := range keys {
		if err := calls[i].Err(); err != nil && redis.HasErrorPrefix(err, "WRONGTYPE") {
			errs[i] = failedKey(ctx, what, key, err)
		}
	}
	return errs
}

// checkClaim says in which way c can't be taken, and how long it lives in milliseconds.
func checkClaim(c *claim.Claim) (ms int64, err error) {
	if err := checkHolder(c); err != nil {
		return 0, err
	}
	return millis(c.TTL)
}

func checkHolder(c *claim.Claim) error {
	switch {
	case c.Token == "": // it would match what is not there
		return errors.New("cachify: redis: the token of a claim must not be empty")
	case len(c.Keys) == 0:
		return errors.New("cachify: redis: a claim has no key")
	case c.Slots < 0:
		return fmt.Errorf("cachify: redis: a claim of %d slots: there must be at least one", c.Slots)
	case c.Slots > 0 && (len(c.Keys) > 1 || len(c.Fences) > 0):
		return errors.New("cachify: redis: the claim of a semaphore has one key, and no fencing token")
	case len(c.Fences) > 0 && len(c.Fences) != len(c.Keys):
		return fmt.Errorf("cachify: redis: a claim has %d keys and %d keys of fencing tokens: there must be one for each", len(c.Keys), len(c.Fences))
	}
	return nil
}

// failedClaim is failedKey for the keys of a claim.
func failedClaim(ctx context.Context, what string, keys []string, err error) error {
	if redis.HasErrorPrefix(err, "CROSSSLOT") {
		what += ": the keys of one claim belong to different Redis Cluster slots: give them a common hash tag, such as {...}"
	}
	if len(keys) == 1 {
		return failedKey(ctx, what, keys[0], err)
	}
	return failedKeys(ctx, what, fmt.Sprintf("keys %q", keys), err)
}
