package cachify

import (
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redisstore"
)

// Redis returns a store over a Redis server of version 7.0 or later: one node, Sentinel or Cluster, whatever rdb is a client
// of. The client remains the caller's, who closes it after the cachify clients.
//
// Keys and values go through rdb's own connections; one more is opened for notifications while callers wait. rdb's timeouts
// may stay as they are: every operation is bounded by Options.OpTimeout and the caller's ctx. A Cluster client
// with ContextTimeoutEnabled saves a goroutine per operation.
//
// Replicas would void the promise about Reset, so a client that is set to read from them (ReadOnly, RouteByLatency,
// RouteRandomly) is refused, and so is a Ring; so is nil. The error comes from the constructors of wrappers.
func Redis(rdb redis.UniversalClient) Store { return redisstore.New(rdb) }

// plainly gives store without what [Options.NoPipeline] switches off.
func plainly(store Store) Store {
	if s, ok := store.(*redisstore.Store); ok {
		return s.Plain()
	}
	return store
}

// onlyRead says whether a Lease failed before it wrote anything, so that there is nothing to take back.
func onlyRead(err error) bool {
	_, ok := errors.AsType[*redisstore.ReadError](err)
	return ok
}

// isRepeated says whether err is of a failure that another call has been given already.
func isRepeated(err error) bool {
	e, ok := errors.AsType[*redisstore.ReadError](err)
	return ok && e.Again
}
