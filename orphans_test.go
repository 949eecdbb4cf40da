package cachify_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A store that hangs takes the leases of many callers without saying so. One goroutine frees them, when it can.
func TestOrphansAreFreedByOneGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers = 1000
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, &cachify.Options{OpTimeout: 200 * time.Millisecond})
		f := newCached(c, square, nil)
		_, err := f.Get(t.Context(), -1) // what a client needs once is there
		noError(t, err)
		store.set(func(ctx context.Context, op string, do func() error) error {
			if op == "Lease" {
				noError(t, do())
			}
			<-ctx.Done()
			return ctx.Err()
		})
		before := runtime.NumGoroutine()
		var running sync.WaitGroup
		for n := range callers {
			running.Go(func() {
				v, err := f.Get(t.Context(), n)
				noError(t, err)
				equal(t, "value", v, n*n)
			})
		}
		running.Wait()
		if more := runtime.NumGoroutine() - before; more > 10 {
			t.Errorf("%d goroutines are left", more)
		}
		keys := make([]string, callers)
		for n := range keys {
			keys[n], err = f.Key(n)
			noError(t, err)
		}
		left := func() (n int) {
			values, _, err := store.Store.Get(t.Context(), keys, nil, nil)
			noError(t, err)
			for _, v := range values {
				if v != nil {
					n++
				}
			}
			return n
		}
		equal(t, "leases taken", left(), callers)
		store.set(nil)
		time.Sleep(time.Second) // the leases end by themselves after half a second more
		equal(t, fmt.Sprintf("leases left of %d", callers), left(), 0)
	})
}
