package main

import (
	"context"
	"sync/atomic"
)

// A wrapped function runs only on a miss, or when it got the lock. So a mark in the ctx that the
// function sets when it runs tells the caller which it was.
//
// A load serves everybody who waits for it, with the values of the first caller's ctx. So of a crowd on a cold key
// the one whose call loaded sees a miss, and the others, who cost the database nothing, a hit. The load may
// outlive the call that began it: hence the atomic.

type ranKey struct{}

// withRan returns a ctx with a mark for markRan to set.
func withRan(ctx context.Context) (context.Context, *atomic.Bool) {
	ran := new(atomic.Bool)
	return context.WithValue(ctx, ranKey{}, ran), ran
}

// markRan sets the mark of withRan, if there is one.
func markRan(ctx context.Context) {
	if ran, ok := ctx.Value(ranKey{}).(*atomic.Bool); ok {
		ran.Store(true)
	}
}
