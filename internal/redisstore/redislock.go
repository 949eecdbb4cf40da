package redisstore

import (
	"context"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// Locks are redislock's: its scripts decide who owns one. They are taken from redislock itself, once, and then run as the
// store's own are. Its client would run each in a round trip of its own, can't act on a lock that it has not itself
// obtained, and knows no lock without expiry.
var (
	// ARGV: the token, its length plus one, milliseconds. To leave room for metadata, obtain.lua takes a lock whose value
	// begins with the token for the caller's own. Told that the token is a byte longer than it is, it compares the end too.
	obtainScript = load(recorded(nil).source)

	// ARGV: the token.
	releaseScript = load(recorded((*redislock.Lock).Release).source)
)

// recorded gives the last script that redislock runs when it obtains a lock and then does more with it, if anything.
func recorded(more func(*redislock.Lock, context.Context) error) *recorder {
	r, ctx := new(recorder), context.Background()
	lock, err := redislock.New(r).Obtain(ctx, "key", time.Hour, &redislock.Options{Token: "token"})
	if err == nil && more != nil {
		_ = more(lock, ctx) // a test looks at what has been recorded
	}
	return r
}

// A recorder is a server that knows no script by its SHA-1, and answers OK to each that it is then sent.
type recorder struct {
	redis.Scripter
	source string
	keys   []string
	argv   []any
}

func (r *recorder) EvalSha(ctx context.Context, _ string, _ []string, _ ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(redis.ErrNoScript)
	return cmd
}

func (r *recorder) Eval(ctx context.Context, source string, keys []string, argv ...any) *redis.Cmd {
	r.source, r.keys, r.argv = source, keys, argv
	cmd := redis.NewCmd(ctx)
	cmd.SetVal("OK")
	return cmd
}
