//go:build unix

package locks

import (
	"context"
	"math"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/go-cachify/cachify"
)

// A locker acquires the lock of that name, for as long as ctx allows, and gives what releases it.
type locker func(ctx context.Context, name string) (release func(), err error)

// ttl is how long locks live without renewal, the same for all.
const ttl = 30 * time.Second

// lockers are made by each process for itself: one client, with its defaults.
var lockers = map[string]func(addr string) locker{
	"cachify":               newCachify,
	"redislock 1 ms":        func(addr string) locker { return newRedislock(addr, linear(time.Millisecond)) },
	"redislock 10 ms":       func(addr string) locker { return newRedislock(addr, linear(10*time.Millisecond)) },
	"redislock 100 ms":      func(addr string) locker { return newRedislock(addr, linear(100*time.Millisecond)) },
	"redislock exponential": func(addr string) locker { return newRedislock(addr, exponential) },
	"redsync":               newRedsync,
	"rueidislock":           newRueidislock,
}

func newCachify(addr string) locker {
	c := cachify.New(cachify.Redis(redis.NewClient(&redis.Options{Addr: addr})), nil)
	lock := cachify.Must(cachify.NewLock[string](c, "<name>", &cachify.LockOptions{TTL: ttl}))
	return func(ctx context.Context, name string) (func(), error) {
		lease, err := lock.Acquire(ctx, name)
		return func() { _ = lease.Release(ctx) }, err
	}
}

// A redislock strategy has a state, so each wait needs its own.
func newRedislock(addr string, strategy func() redislock.RetryStrategy) locker {
	c := redislock.New(redis.NewClient(&redis.Options{Addr: addr}))
	return func(ctx context.Context, name string) (func(), error) {
		// Without a deadline redislock would wait no longer than the TTL.
		waiting, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		lock, err := c.Obtain(waiting, name, ttl, &redislock.Options{RetryStrategy: strategy()})
		return func() { _ = lock.Release(context.WithoutCancel(ctx)) }, err
	}
}

func linear(d time.Duration) func() redislock.RetryStrategy {
	return func() redislock.RetryStrategy { return redislock.LinearBackoff(d) }
}

// exponential begins at the smallest time that redislock recommends.
func exponential() redislock.RetryStrategy {
	return redislock.ExponentialBackoff(16*time.Millisecond, time.Second)
}

func newRedsync(addr string) locker {
	rs := redsync.New(redsyncgoredis.NewPool(redis.NewClient(&redis.Options{Addr: addr})))
	return func(ctx context.Context, name string) (func(), error) {
		mutex := rs.NewMutex(name, redsync.WithExpiry(ttl), redsync.WithTries(math.MaxInt))
		err := mutex.LockContext(ctx)
		return func() { _, _ = mutex.UnlockContext(context.WithoutCancel(ctx)) }, err
	}
}

func newRueidislock(addr string) locker {
	c, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{addr}},
		KeyMajority:  1, // there is one server
		KeyValidity:  ttl,
	})
	if err != nil {
		panic(err)
	}
	return func(ctx context.Context, name string) (func(), error) {
		_, release, err := c.WithContext(ctx, name)
		return release, err
	}
}
