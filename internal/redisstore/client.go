package redisstore

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// check says why rdb can't be used.
func check(rdb redis.UniversalClient) error {
	if v := reflect.ValueOf(rdb); !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.New("cachify: the Redis client is nil: make one with redis.NewClient")
	}
	switch rdb := rdb.(type) {
	case *redis.Ring:
		return errors.New("cachify: a redis.Ring can't be used: it spreads keys over servers that know nothing of each other, " +
			"so that a value and the stamps of its tags are not in one place; use one server, Sentinel or Redis Cluster")
	case *redis.AutoPipeliner:
		return errors.New("cachify: a redis.AutoPipeliner can't be used: it hides the options of its client; give cachify the client itself")
	case *redis.ClusterClient:
		if o := rdb.Options(); o.ReadOnly || o.RouteByLatency || o.RouteRandomly {
			return errors.New("cachify: a client that reads from replicas can't be used: a replica may still have what a Reset has removed; " +
				"give cachify a client without ReadOnly (ReplicaOnly), RouteByLatency and RouteRandomly")
		}
	}
	return nil
}

const defaultTimeout = 5 * time.Second // of go-redis, for clients that wait for ever

// honourDeadlines copies rdb. [redis.Client.WithTimeout] is the one way to a client that has other options and shares the
// connections; the options are a copy, so nothing changes for rdb. See withHooks for what it does not share.
func honourDeadlines(rdb *redis.Client) *redis.Client {
	o := rdb.Options()
	read, write := o.ReadTimeout, o.WriteTimeout
	if read <= 0 { // "none" would ignore a ctx too
		read = defaultTimeout
	}
	if write <= 0 {
		write = defaultTimeout
	}
	rdb = rdb.WithTimeout(read)
	o = rdb.Options()
	o.WriteTimeout = write
	o.ContextTimeoutEnabled = true
	o.MaxRetries = 0 // a repeated lease or lock whose first attempt arrives late would bring back what has ended
	return rdb
}

// clusterHonours says whether a Cluster client honours deadlines by itself: a timeout that is switched off switches off
// those of contexts too.
func clusterHonours(o *redis.ClusterOptions) bool {
	return o.ContextTimeoutEnabled && o.ReadTimeout >= 0 && o.WriteTimeout >= 0
}

// A commander runs commands, as all of go-redis' clients do.
type commander interface {
	Process(ctx context.Context, cmd redis.Cmder) error
	Pipeline() redis.Pipeliner
}

// withHooks gives a commander that runs rdb's hooks, and then the commands by its copy to, which has lost the hooks. It makes use
// of a [redis.Conn], which has kept them, but takes no connection: a hook of our own sends each command on before that.
func withHooks(rdb *redis.Client, to commander) commander {
	conn := rdb.Conn()
	conn.AddHook(detour{to: to, pipes: newPipes(to)})
	return conn
}

// A detour is the innermost hook. It sends commands elsewhere.
type detour struct {
	to    commander
	pipes *pipes
}

func (d detour) DialHook(next redis.DialHook) redis.DialHook { return next }

func (d detour) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		glance(ctx)
		return d.to.Process(ctx, cmd)
	}
}

func (d detour) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		glance(ctx)
		return d.pipes.exec(ctx, cmds)
	}
}

// glance tells a ctx of the root package that go-redis asks for Done once to look whether ctx has ended, before it takes
// a connection that is free, and again before it waits for anything.
func glance(ctx context.Context) {
	if g, ok := ctx.(interface{ Glance() }); ok {
		g.Glance()
	}
}

// pipes are pipelines to be used again. They cost five allocations each.
type pipes struct{ idle sync.Pool }

func newPipes(on commander) *pipes {
	return &pipes{sync.Pool{New: func() any { return on.Pipeline() }}}
}

func (p *pipes) exec(ctx context.Context, cmds []redis.Cmder) error {
	pipe := p.idle.Get().(redis.Pipeliner)
	_ = pipe.BatchProcess(ctx, cmds...) // only queues
	_, err := pipe.Exec(ctx)            // leaves pipe empty
	p.idle.Put(pipe)
	return err
}
