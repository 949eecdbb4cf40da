package cachify

import "context"

// A Tracer is told of every operation of a client's wrappers, for spans and metrics. Its methods are called
// in the goroutine of the operation, must be quick, and must be safe for concurrent use.
type Tracer interface {
	// TraceStart is called before an operation. The ctx that it returns is used for the operation and given to
	// TraceEnd.
	TraceStart(ctx context.Context, op Operation) context.Context

	// TraceEnd is called when the operation is over.
	TraceEnd(ctx context.Context, op Operation, outcome Outcome)
}

// An Operation is what a caller asked for, or a run of a wrapped function.
type Operation struct {
	Name     string // the method, such as "Get", "Reset" or "Do", or "Load" for a run of a cached function
	Template string // the wrapper's template
	Key      string // the key in the store; empty where there is none or more than one
}

// An Outcome is how an operation ended.
type Outcome struct {
	// Status is, for Get and Refresh, one of "hit", "load", "wait" and "bypass"; for Do "ran" or "locked";
	// and empty otherwise.
	Status string

	// Err is what the caller gets.
	Err error

	// StoreErr is what went wrong with the store, a key or a value without the caller getting to see it.
	StoreErr error
}

func (c *Client) traceStart(ctx context.Context, op Operation) context.Context {
	if c.opts.Tracer == nil {
		return ctx
	}
	return c.opts.Tracer.TraceStart(ctx, op)
}

func (c *Client) traceEnd(ctx context.Context, op Operation, outcome Outcome) {
	if c.opts.Tracer != nil {
		c.opts.Tracer.TraceEnd(ctx, op, outcome)
	}
}
