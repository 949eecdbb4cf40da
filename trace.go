package cachify

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// A Tracer is told of the operations of a client and its wrappers, for spans and metrics. Its methods are called
// in the goroutine of the operation, must be quick, and must be safe for concurrent use.
//
// A panic in one of them reaches the caller of the operation. That of a "Load" is logged, and the load goes on: it runs in a goroutine of its
// own, where nobody could recover the panic, for callers who may each have come to it by another way.
type Tracer interface {
	// TraceStart is called before an operation. The ctx that it returns is used for the operation and given to
	// TraceEnd.
	TraceStart(ctx context.Context, op Operation) context.Context

	// TraceEnd is called when the operation is over.
	TraceEnd(ctx context.Context, op Operation, outcome Outcome)
}

// An Operation is what a caller asked for, or a run of a wrapped function.
type Operation struct {
	Name     string // "Get", "GetMany", "Refresh", "Put", "Peek", "Reset", "ResetAll", "ResetMany", "PutMany", "ResetTags", "Do", "Acquire", "TryAcquire", "AcquireMany", "Release" of a lease, or "Load" for a run of a cached function
	Template string // the wrapper's template; empty for ResetTags and Release
	Key      string // the key in the store; empty where there is none or more than one
}

// An Outcome is how an operation ended.
type Outcome struct {
	// Status is, for Get and Refresh, one of "hit", "near" (a hit in the near cache), "stale", "load", "wait" and "bypass"; for Do "ran" or "locked", for
	// the acquisition of a lock or slot "acquired" or "locked"; and empty otherwise.
	Status string

	// Err is what the caller gets, and an error of its own if that is a panic.
	Err error

	// StoreErr is what went wrong with the store, a key or a value without the caller getting to see it.
	StoreErr error
}

// errCrashed is the Outcome.Err of an operation that ended in a panic or with its goroutine.
var errCrashed = errors.New("cachify: the function panicked or ended its goroutine")

// trace tells the tracer that op begins, and returns what tells it the end.
func (c *Client) trace(ctx context.Context, op Operation) (context.Context, func(Outcome)) {
	tracer := c.opts.Tracer
	if tracer == nil {
		return ctx, func(Outcome) {}
	}
	ctx = tracer.TraceStart(ctx, op)
	return ctx, func(outcome Outcome) { tracer.TraceEnd(ctx, op, outcome) }
}

// traceLoad is trace for a goroutine in which nobody could recover a panic of the tracer.
func (c *Client) traceLoad(ctx context.Context, op Operation) (context.Context, func(Outcome)) {
	traced, end := ctx, func(Outcome) {}
	c.guardTracer(ctx, func() { traced, end = c.trace(ctx, op) })
	return traced, func(outcome Outcome) { c.guardTracer(ctx, func() { end(outcome) }) }
}

// guardTracer logs a panic of f.
func (c *Client) guardTracer(ctx context.Context, f func()) {
	defer func() {
		if value := recover(); value != nil {
			c.log().ErrorContext(ctx, "cachify: the tracer panicked", "panic", fmt.Sprint(value), "stack", string(debug.Stack()))
		}
	}()
	f()
}
