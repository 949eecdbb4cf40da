package benchmarks

import (
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const lockTTL = 30 * time.Second

// A lockWay takes and releases a lock that nobody else wants.
type lockWay struct {
	name string
	run  func(b *testing.B)
}

// lockWays begins with plain redislock. Those after it and before cachify add to it, one by one, what cachify needs beyond it.
func lockWays(b *testing.B) (*redis.Client, []lockWay) {
	server := redistest.Start(b)
	rdb := server.Client(b)
	noError(b, releaseScript.Load(context.Background(), rdb).Err())
	// With a deadline as the ctx has it a command sets that of its connection.
	prompt := server.Client(b, func(o *redis.Options) { o.ContextTimeoutEnabled, o.MaxRetries = true, -1 })
	return rdb, []lockWay{
		{"redislock", func(b *testing.B) { plain(b, rdb, "") }},
		{"+token", func(b *testing.B) { plain(b, rdb, longToken()) }},
		{"+deadline", func(b *testing.B) { deadline(b, prompt, false) }},
		{"+publish", func(b *testing.B) { deadline(b, prompt, true) }},
		{"+context", func(b *testing.B) { withContext(b, prompt) }},
		{"cachify", cachifyLock(b, rdb, context.Background(), nil)},
		{"cachify-cancellable", cachifyLock(b, rdb, b.Context(), nil)},
		{"cachify-fenced", cachifyLock(b, rdb, context.Background(), &cachify.LockOptions{Fenced: true})},
		{"cachify-fenced-cancellable", cachifyLock(b, rdb, b.Context(), &cachify.LockOptions{Fenced: true})},
	}
}

func plain(b *testing.B, rdb *redis.Client, token string) {
	lock, err := redislock.Obtain(context.Background(), rdb, "lock:plain", lockTTL, &redislock.Options{Token: token})
	noError(b, err)
	noError(b, lock.Release(context.Background()))
}

// longToken is of the form and the length of cachify's.
func longToken() string {
	t := append(make([]byte, 0, 128), rand.Text()...)
	t = append(t, " the-name-of-a-host 12345 "...)
	return string(append(strconv.AppendInt(t, time.Now().UnixMilli(), 10), ' '))
}

// deadline bounds each of the two operations.
func deadline(b *testing.B, rdb *redis.Client, publish bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	lock, err := redislock.Obtain(ctx, rdb, "lock:deadline", lockTTL, &redislock.Options{Token: longToken()})
	cancel()
	noError(b, err)
	release(b, rdb, lock, publish)
}

func release(b *testing.B, rdb *redis.Client, lock *redislock.Lock, publish bool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if !publish {
		noError(b, lock.Release(ctx))
		return
	}
	pipe := rdb.Pipeline()
	releaseScript.EvalSha(ctx, pipe, []string{lock.Key()}, lock.Token())
	pipe.Publish(ctx, lock.Key(), "")
	_, err := pipe.Exec(ctx)
	noError(b, err)
}

// releaseScript does as much as redislock's.
var releaseScript = redis.NewScript(`
local values = redis.call("mget", unpack(KEYS))
for i, _ in ipairs(KEYS) do
	if values[i] ~= ARGV[1] then return false end
end
redis.call("del", unpack(KEYS))
return redis.status_reply("OK")`)

// withContext gives the lock a context that ends with its time to live.
func withContext(b *testing.B, rdb *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	lock, err := redislock.Obtain(ctx, rdb, "lock:context", lockTTL, &redislock.Options{Token: longToken()})
	cancel()
	noError(b, err)
	_, end := context.WithCancelCause(context.Background())
	expiry := time.AfterFunc(lockTTL, func() { end(cachify.ErrLockLost) })
	expiry.Stop()
	end(nil)
	release(b, rdb, lock, true)
}

func cachifyLock(b *testing.B, rdb *redis.Client, ctx context.Context, opts *cachify.LockOptions) func(b *testing.B) {
	// A busy machine may let an operation take longer than the default timeout.
	c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "app:", OpTimeout: time.Minute, LockTTL: lockTTL})
	b.Cleanup(func() { noError(b, c.Close()) })
	lock := cachify.Must(cachify.NewLock[readUser](c, "user-<tenant>-<user_id>", opts))
	return func(b *testing.B) {
		lease, err := lock.TryAcquire(ctx, args)
		noError(b, err)
		noError(b, lease.Release(ctx))
	}
}

func noError(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}

// BenchmarkLock gives the allocations and the round trips of acquiring and releasing a lock that nobody else wants. For the ratio
// see BenchmarkLockRatio.
func BenchmarkLock(b *testing.B) {
	rdb, ways := lockWays(b)
	for _, way := range ways {
		b.Run(way.name, func(b *testing.B) {
			way.run(b) // the scripts are there, and the connections
			b.ReportAllocs()
			before := requests(b, rdb)
			for b.Loop() {
				way.run(b)
			}
			b.ReportMetric(float64(requests(b, rdb)-before)/float64(b.N), "requests/op")
		})
	}
}

// requests gives how often the server has read from its connections: a pipeline is one request.
func requests(b *testing.B, rdb *redis.Client) (n int) {
	info, err := rdb.Info(context.Background(), "stats").Result()
	noError(b, err)
	_, text, _ := strings.Cut(info, "total_reads_processed:")
	_, err = fmt.Sscan(text, &n)
	noError(b, err)
	return n
}

// BenchmarkLockRatio compares them to redislock as BenchmarkHitRatio does.
func BenchmarkLockRatio(b *testing.B) {
	_, ways := lockWays(b)
	for _, way := range ways[1:] {
		b.Run(way.name, func(b *testing.B) {
			compare(b, "redislock", func() { ways[0].run(b) }, way.name, func() { way.run(b) }, 20, 1)
		})
	}
}
