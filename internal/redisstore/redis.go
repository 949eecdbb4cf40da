// Package redisstore is cachify's store on Redis 7.0 or later: one node, Sentinel or Cluster.
//
// Values, leases, tags, locks and fencing tokens are Redis strings, semaphores sorted sets, under exactly the keys that are
// given. What compares and then acts is a Lua script that touches only its keys, which are of one Cluster slot; see
// the .lua files, and redislock.go for those of locks. A key that
// changes is told of on the Pub/Sub channel of the same name, so a Redis user with access rules needs the
// channels of its keys beside the keys.
//
// Leases, locks, semaphores and tags are not evicted before their time only if Redis evicts nothing (maxmemory-policy noeviction).
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// NoExpiry is the ttl of what does not expire, the same as in the root package.
const NoExpiry time.Duration = -1

// Store keeps values in Redis. Make one with [New]. Its methods are described in the Store interface of the root package;
// they are safe for concurrent use.
//
// A call returns when its ctx's deadline has passed, whatever the server does, and whatever the client's options
// say. A ctx that is cancelled before its deadline ends a wait for a connection or for the next attempt at once. A
// wait for a reply it ends at once only where calls run in goroutines of their own, see [New]; elsewhere that ends
// with the deadline.
type Store struct {
	client   redis.UniversalClient
	err      error // why client can't be used
	cmds     commander
	pipes    *pipes
	single   bool // all keys are in one place
	solo     bool // a single command goes without a pipeline
	expected *expected
	guard    *guard // nil if client honours deadlines by itself
	lanes    *lanes // nil: no read travels with others
	watch    *watcher
}

// New returns a Store on rdb, which stays the caller's to close. It does no I/O. If rdb can't be used, [Store.Err]
// says why.
//
// Of a *[redis.Client] New makes a copy with options of its own, which shares its connections, and the hooks that it has
// by now. The copy honours the deadlines of contexts and never repeats a command. All other clients
// are used as they are: a Cluster client with ContextTimeoutEnabled directly, any other in a goroutine for each call.
func New(rdb redis.UniversalClient) *Store {
	s := &Store{client: rdb, err: check(rdb), cmds: rdb, expected: newExpected()}
	switch rdb := rdb.(type) {
	case *redis.Client:
		if s.err == nil {
			o := rdb.Options()
			s.single = true
			s.client = honourDeadlines(rdb)
			s.cmds = withHooks(rdb, s.client)
			// A plain read may be answered from client-side caching, which learns of a Reset too late. A pipeline
			// never is.
			s.solo = o.ClientSideCacheConfig == nil && o.ClientSideCache == nil
		}
	case *redis.ClusterClient:
		if s.err == nil && !clusterHonours(rdb.Options()) {
			s.guard = new(guard)
		}
	default:
		s.guard = new(guard)
	}
	s.pipes = newPipes(s.cmds)
	s.lanes = newLanes(s, rdb)
	s.watch = newWatcher(s.client)
	return s
}

// Plain gives s as it is, except that each call of it travels alone. Both are one store.
func (s *Store) Plain() *Store {
	plain := *s
	plain.lanes = nil
	return &plain
}

// Err says why the client given to [New] can't be used, and what to do. It is nil if it can.
func (s *Store) Err() error { return s.err }

// Open makes [Store.Watch] work again after the last Close. It does no I/O.
func (s *Store) Open() { s.watch.open() }

// Close is called once for each Open. The last one ends the subscription with its goroutines and connection; it
// leaves the client alone. It returns nil.
func (s *Store) Close() error {
	if s.watch.close() && s.lanes != nil {
		s.lanes.close()
	}
	return nil
}

// Watch implements the root package's Store. All keys share one connection, which is made when the first is
// watched, and closed when none has been for a while.
func (s *Store) Watch(key string) (changes <-chan struct{}, stop func()) {
	if s.err != nil {
		return make(chan struct{}), func() {}
	}
	return s.watch.add(key)
}

// exec sends cmds in one round trip (on a Cluster: one to each node concerned). What the server answers to each,
// errors too, is in the commands. An error of exec means that they may not all have been answered; they must not be
// read then.
func (s *Store) exec(ctx context.Context, cmds ...redis.Cmder) error {
	if s.err != nil {
		return s.err
	}
	if s.guard == nil {
		return s.send(ctx, cmds)
	}
	return s.guard.run(ctx, cmds, s.send)
}

func (s *Store) send(ctx context.Context, cmds []redis.Cmder) error {
	var err error
	if len(cmds) == 1 && s.solo {
		err = s.cmds.Process(ctx, cmds[0])
	} else {
		err = s.pipes.exec(ctx, cmds)
	}
	if err == nil || err == redis.Nil {
		return nil
	}
	if _, ok := errors.AsType[redis.Error](err); ok {
		return nil
	}
	return err
}

// failed gives err its context: what was tried, and that it was the ctx that ended it. A socket's deadline is that of the
// ctx, and may be noticed first.
func failed(ctx context.Context, what string, err error) error {
	ended := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && ended == nil && !time.Now().Before(deadline) {
		ended = context.DeadlineExceeded
	}
	if ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("cachify: redis: %s: %w: %w", what, ended, err)
	}
	return fmt.Errorf("cachify: redis: %s: %w", what, err)
}

// millis gives ttl as Redis takes it: whole milliseconds rounded up, -1 for none.
func millis(ttl time.Duration) (int64, error) {
	switch {
	case ttl == NoExpiry:
		return -1, nil
	case ttl <= 0:
		return 0, fmt.Errorf("cachify: redis: a ttl of %v: it must be positive or NoExpiry", ttl)
	}
	ms := int64(ttl / time.Millisecond)
	if ttl%time.Millisecond != 0 {
		ms++
	}
	return ms, nil
}
