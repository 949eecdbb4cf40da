package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// Locks are redislock's. Two things it does not do are added here: it knows no lock without expiry, and it can't
// act on a lock that it has not itself obtained, or that another process has.

// Lock implements the root package's Store. A key of another type than string is an error.
func (s *Store) Lock(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	ms, err := checkLock(token, ttl)
	if err != nil {
		return false, err
	}
	if ms < 0 {
		return s.lockForever(ctx, "lock", key, token, "set")
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	locks := redislock.New(obtainer{scripter{s.client, s}})
	_, err = locks.Obtain(ctx, key, time.Duration(ms)*time.Millisecond, &redislock.Options{Token: token})
	return held(ctx, "lock", key, err)
}

// Extend implements the root package's Store.
func (s *Store) Extend(ctx context.Context, key, token string, ttl time.Duration) (bool, error) {
	ms, err := checkLock(token, ttl)
	if err != nil {
		return false, err
	}
	if ms < 0 {
		return s.lockForever(ctx, "extend", key, token, "")
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	lock, err := holding(ctx, key, token, scripter{s.client, s})
	if err == nil {
		err = lock.Refresh(ctx, time.Duration(ms)*time.Millisecond, nil)
	}
	return held(ctx, "extend", key, err)
}

// Unlock implements the root package's Store. If an attempt is repeated after a lost reply, it says that the lock was
// not there.
func (s *Store) Unlock(ctx context.Context, key, token string) (bool, error) {
	if _, err := checkLock(token, NoExpiry); err != nil {
		return false, err
	}
	lock, err := holding(ctx, key, token, releaser{scripter{s.client, s}})
	if err == nil {
		err = lock.Release(ctx)
	}
	return held(ctx, "unlock", key, err)
}

func checkLock(token string, ttl time.Duration) (ms int64, err error) {
	if token == "" { // redislock would make one up
		return 0, errors.New("cachify: redis: a lock's token must not be empty")
	}
	return millis(ttl)
}

// withDeadline gives ctx a deadline if it has none: redislock would make the ttl one.
func withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, time.Hour)
}

func held(ctx context.Context, what, key string, err error) (bool, error) {
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, redislock.ErrNotObtained), errors.Is(err, redislock.ErrLockNotHeld):
		return false, nil
	}
	return false, failedKey(ctx, what, key, err)
}

func (s *Store) lockForever(ctx context.Context, what, key, token, mode string) (bool, error) {
	call := redis.NewIntCmd(ctx, scriptArgs(lockForeverScript, []string{key}, token, mode)...)
	if err := s.runScripts(ctx, call); err != nil {
		return false, failed(ctx, what, err)
	}
	n, err := call.Result()
	if err != nil {
		return false, failedKey(ctx, what, key, err)
	}
	return n == 1, nil
}

// holding gives redislock's handle of a lock that holds token, to act on it through next. redislock hands one out only
// when it obtains a lock, so it is told that it has. To keep the handles that Lock gets instead would leak those of
// locks that are never released, and would not do for the locks of other processes.
func holding(ctx context.Context, key, token string, next redis.Scripter) (*redislock.Lock, error) {
	lock, err := redislock.New(yes{next}).Obtain(ctx, key, time.Hour, &redislock.Options{Token: token})
	if err == nil {
		lock.Client = redislock.New(next)
	}
	return lock, err
}

// yes answers each script with OK, and sends nothing.
type yes struct{ redis.Scripter }

func (yes) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetVal("OK")
	return cmd
}

// A scripter runs redislock's scripts as the store's own commands are run.
type scripter struct {
	redis.Scripter
	store *Store
}

func (c scripter) EvalSha(ctx context.Context, sha string, keys []string, argv ...any) *redis.Cmd {
	return c.run(ctx, "evalsha", sha, keys, argv)
}

func (c scripter) Eval(ctx context.Context, source string, keys []string, argv ...any) *redis.Cmd {
	return c.run(ctx, "eval", source, keys, argv)
}

// run puts also after the script, into the same round trip.
func (c scripter) run(ctx context.Context, name, script string, keys []string, argv []any, also ...redis.Cmder) *redis.Cmd {
	args := scriptArgs(script, keys, argv...)
	args[0] = name
	cmd := redis.NewCmd(ctx, args...)
	if err := c.store.exec(ctx, append([]redis.Cmder{cmd}, also...)...); err != nil {
		cmd = redis.NewCmd(ctx) // the other may still be in use
		cmd.SetErr(err)
	}
	return cmd
}

// An obtainer makes redislock compare whole tokens. To leave room for metadata, its obtain.lua takes a lock whose value
// begins with the token for the caller's own. Told that the token is a byte longer than it is, it compares the end too.
type obtainer struct{ scripter }

func (c obtainer) EvalSha(ctx context.Context, sha string, keys []string, argv ...any) *redis.Cmd {
	return c.scripter.EvalSha(ctx, sha, keys, wholeToken(argv)...)
}

func (c obtainer) Eval(ctx context.Context, source string, keys []string, argv ...any) *redis.Cmd {
	return c.scripter.Eval(ctx, source, keys, wholeToken(argv)...)
}

func wholeToken(argv []any) []any {
	if n, ok := argv[1].(int); ok {
		return []any{argv[0], n + 1, argv[2]}
	}
	return argv
}

// A releaser tells those who wait for the lock. The script for that is short, so it is sent as it is and never unknown.
type releaser struct{ scripter }

func (c releaser) EvalSha(ctx context.Context, sha string, keys []string, argv ...any) *redis.Cmd {
	return c.run(ctx, "evalsha", sha, keys, argv, notify(ctx, keys[0]))
}

func (c releaser) Eval(ctx context.Context, source string, keys []string, argv ...any) *redis.Cmd {
	return c.run(ctx, "eval", source, keys, argv, notify(ctx, keys[0]))
}

func notify(ctx context.Context, key string) redis.Cmder {
	return redis.NewIntCmd(ctx, "eval", notifySource, 1, key)
}
