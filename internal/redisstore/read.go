package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
)

// Get implements the root package's Store. A key of another type than string is an error; where several keys are read by
// one MGET it is absent.
func (s *Store) Get(ctx context.Context, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	if s.single && len(keys)+len(tags) > 1 {
		return s.getAtOnce(ctx, keys, tags, left, copied)
	}
	cmds := make([]redis.Cmder, 0, 2*len(keys)+1)
	for _, key := range keys {
		cmds = append(cmds, redis.NewStringCmd(ctx, "get", key))
	}
	return s.read(ctx, "get", cmds, keys, tags, left)
}

// View reads like Get, and saves a copy where it can: the caller must not write to the values.
func (s *Store) View(ctx context.Context, keys, tags []string) (values [][]byte, stamps []int64, err error) {
	if s.single && len(keys)+len(tags) > 1 {
		return s.getAtOnce(ctx, keys, tags, nil, viewed)
	}
	return s.Get(ctx, keys, tags, nil)
}

func copied(s string) []byte { return []byte(s) }

// viewed gives the bytes of s itself.
func viewed(s string) []byte {
	if s == "" {
		return []byte{}
	}
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// getAtOnce reads keys and tags by one MGET, which a Cluster could not do.
func (s *Store) getAtOnce(ctx context.Context, keys, tags []string, left []time.Duration, bytesOf func(string) []byte) ([][]byte, []int64, error) {
	cmd := redis.NewSliceCmd(ctx, mget(keys, tags)...)
	cmds := appendLeft(ctx, []redis.Cmder{cmd}, keys, left)
	if err := s.exec(ctx, cmds...); err != nil {
		return nil, nil, failed(ctx, "get", err)
	}
	replies, err := cmd.Result()
	if err == nil && len(replies) != len(keys)+len(tags) {
		err = fmt.Errorf("%d values where %d were asked for", len(replies), len(keys)+len(tags))
	}
	if err == nil {
		err = readLeft(cmds[1:], left)
	}
	if err != nil {
		return nil, nil, failed(ctx, "get", err)
	}
	values := make([][]byte, len(keys))
	for i := range keys {
		if v, ok := replies[i].(string); ok {
			values[i] = bytesOf(v)
		}
	}
	if len(tags) == 0 {
		return values, nil, nil
	}
	stamps := make([]int64, len(tags))
	for i := range tags {
		text, _ := replies[len(keys)+i].(string)
		stamps[i] = parseStamp(text)
	}
	return values, stamps, nil
}

// appendLeft adds commands that ask how long keys have left, where that is wanted. They come after those that read the keys, so that
// the answer is never more than what was left then.
func appendLeft(ctx context.Context, cmds []redis.Cmder, keys []string, left []time.Duration) []redis.Cmder {
	if left == nil {
		return cmds
	}
	for _, key := range keys {
		cmds = append(cmds, redis.NewIntCmd(ctx, "pttl", key))
	}
	return cmds
}

func readLeft(cmds []redis.Cmder, left []time.Duration) error {
	for i := range left {
		ms, err := cmds[i].(*redis.IntCmd).Result()
		if err != nil {
			return err
		}
		if left[i] = timeLeft(ms); ms == -2 { // it has gone in the meantime
			left[i] = 1
		}
	}
	return nil
}

func mget(lists ...[]string) []any {
	n := 1
	for _, list := range lists {
		n += len(list)
	}
	args := append(make([]any, 0, n), "mget")
	for _, list := range lists {
		for _, key := range list {
			args = append(args, key)
		}
	}
	return args
}

// Lease implements the root package's Store. A key of another type than string is an error. So is READONLY:
// only a replica answers so, and a replica may still have what a Reset has removed.
func (s *Store) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	ms, err := millis(ttl)
	if err != nil {
		return nil, nil, err
	}
	if s.single && len(keys) == 1 { // elsewhere to read takes two commands as well
		if s.expected.has(keys[0]) {
			values, stamps, err := s.Get(ctx, keys, tags, left)
			if err != nil || values[0] != nil {
				return values, stamps, err
			}
		}
		defer func() { s.expected.note(keys[0], err == nil && values[0] != nil) }()
	}
	cmds := make([]redis.Cmder, 0, len(keys)+1)
	var value, px any = lease, ms // boxed once for all keys
	for _, key := range keys {
		args := []any{"set", key, value, "nx", "get", "px", px}
		if ms < 0 {
			args = args[:5]
		}
		cmds = append(cmds, redis.NewStringCmd(ctx, args...))
	}
	values, stamps, err = s.read(ctx, "lease", cmds, keys, tags, left)
	if err != nil && writesRefused(err) {
		return s.readLeased(ctx, cmds[:len(keys)], keys, tags, left, err)
	}
	return values, stamps, err
}

// read sends one command for each of keys and one for all tags, and reads the replies.
func (s *Store) read(ctx context.Context, what string, cmds []redis.Cmder, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	cmds = appendLeft(ctx, cmds, keys, left)
	if len(tags) > 0 {
		cmds = append(cmds, redis.NewStringSliceCmd(ctx, mget(tags)...))
	}
	if len(cmds) == 0 {
		return nil, nil, nil
	}
	if err := s.exec(ctx, cmds...); err != nil {
		return nil, nil, failed(ctx, what, err)
	}
	values := make([][]byte, len(keys))
	for i, key := range keys {
		v, err := bytesOf(cmds[i].(*redis.StringCmd))
		if err != nil {
			return nil, nil, failedKey(ctx, what, key, err)
		}
		values[i] = v
	}
	if err := readLeft(cmds[len(keys):], left); err != nil {
		return nil, nil, failed(ctx, what, err)
	}
	if len(tags) == 0 {
		return values, nil, nil
	}
	stamps, err := stampsOf(cmds[len(cmds)-1].(*redis.StringSliceCmd), len(tags))
	if err != nil {
		return nil, nil, failed(ctx, what+": tags", err)
	}
	return values, stamps, nil
}

// readLeased reads what Lease could not write.
func (s *Store) readLeased(ctx context.Context, leases []redis.Cmder, keys, tags []string, left []time.Duration, refused error) ([][]byte, []int64, error) {
	values, stamps, err := s.Get(ctx, keys, tags, left)
	if err != nil {
		return nil, nil, err
	}
	for i, v := range values {
		switch err := leases[i].Err(); {
		case errors.Is(err, redis.Nil):
			values[i] = nil // on a Cluster node that does write: this lease is the caller's
		case v == nil:
			return nil, nil, refused
		}
	}
	return values, stamps, nil
}

// writesRefused tells the replies of a master that still can be read: out of memory, can't persist, too few replicas.
func writesRefused(err error) bool {
	return redis.HasErrorPrefix(err, "OOM") || redis.HasErrorPrefix(err, "MISCONF") || redis.HasErrorPrefix(err, "NOREPLICAS")
}

// bytesOf gives a reply without copying it: go-redis has read it into a buffer of its own.
func bytesOf(cmd *redis.StringCmd) ([]byte, error) {
	b, err := cmd.Bytes()
	switch {
	case err == nil && len(b) == 0:
		return []byte{}, nil
	case err == nil:
		return b, nil
	case errors.Is(err, redis.Nil):
		return nil, nil
	}
	return nil, err
}

// stampsOf gives a list of stamps; what is absent or no stamp is 0.
func stampsOf(cmd *redis.StringSliceCmd, n int) ([]int64, error) {
	texts, err := cmd.Result()
	if err == nil && len(texts) != n {
		err = fmt.Errorf("%d stamps where %d were asked for", len(texts), n)
	}
	if err != nil {
		return nil, err
	}
	stamps := make([]int64, n)
	for i, text := range texts {
		stamps[i] = parseStamp(text)
	}
	return stamps, nil
}

// maxStamp is the greatest number that Lua, where all numbers are floating point, can count to. As microseconds it lasts until 2255.
const maxStamp = 1<<53 - 1

// parseStamp has to agree with the scripts about what is a stamp: digits without a leading zero, up to maxStamp.
func parseStamp(text string) int64 {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxStamp {
		return 0
	}
	return n
}

func failedKey(ctx context.Context, what, key string, err error) error {
	return failedKeys(ctx, what, fmt.Sprintf("key %q", key), err)
}

func failedKeys(ctx context.Context, what, keys string, err error) error {
	switch {
	case strings.Contains(err.Error(), "WRONGTYPE"): // in a script, something may come before it
		err = fmt.Errorf("%w: %w", claim.ErrWrongType, err)
	case redis.HasErrorPrefix(err, "syntax error"):
		what += " (Redis 7.0 or later is needed)"
	}
	return failed(ctx, keys+": "+what, err)
}
