package redisstore

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// maxAbandoned bounds the calls that nobody waits for any more.
const maxAbandoned = 128

// A guard lets calls end with their ctx on a client that does not see to that itself, as a Cluster client by default: each
// call runs in a goroutine, and is abandoned when its ctx ends. While there are maxAbandoned of those, new calls fail at
// once, so that no more are left behind than that and the callers of one moment.
type guard struct {
	abandoned atomic.Int64
}

// The states of a call. Whoever leaves callRuns first decides.
const (
	callRuns int32 = iota
	callDone
	callAbandoned
)

// run calls send. After an error cmds may still be in use.
func (g *guard) run(ctx context.Context, cmds []redis.Cmder, send func(context.Context, []redis.Cmder) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ctx.Done() == nil {
		return send(ctx, cmds)
	}
	if n := g.abandoned.Load(); n >= maxAbandoned {
		return fmt.Errorf("%d calls are still waiting for servers that do not answer: "+
			"set ContextTimeoutEnabled or a shorter ReadTimeout in the client's options to be rid of them sooner", n)
	}
	ownArgs(cmds)
	var state atomic.Int32
	done := make(chan error, 1)
	go func() {
		err := send(ctx, cmds)
		for _, cmd := range cmds {
			_ = cmd.Err() // waits for the reply where the client has only queued the command
		}
		done <- err
		if !state.CompareAndSwap(callRuns, callDone) {
			g.abandoned.Add(-1)
		}
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if !state.CompareAndSwap(callRuns, callAbandoned) {
		return <-done
	}
	g.abandoned.Add(1)
	return ctx.Err()
}

// ownArgs copies what belongs to the caller, who may change it as soon as the call has returned.
func ownArgs(cmds []redis.Cmder) {
	for _, cmd := range cmds {
		args := cmd.Args()
		for i, arg := range args {
			if b, ok := arg.([]byte); ok {
				args[i] = bytes.Clone(b)
			}
		}
	}
}
