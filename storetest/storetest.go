// Package storetest holds a [cachify.Store] to its contract. Whoever writes a store of their own runs
// it in a test:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Backend {
//			server := startServer(t)
//			return storetest.Backend{Open: func() cachify.Store { return mystore.New(server.Addr()) }}
//		})
//	}
//
// Each test uses keys of its own, so a backend may be shared and need not be empty. It must take values of
// 1 MiB. What differs from store to store is not covered: eviction, and what happens when the backend fails.
package storetest

import (
	"testing"

	"github.com/go-cachify/cachify"
)

// A Backend is where the stores of one test keep their data.
type Backend struct {
	// Open gives a store over the data. The suite calls it several times in one test and expects that
	// the stores see one another's changes, as those of several processes do. It may give the same
	// store each time where there is no other way to the data. The suite calls the Open and Close of
	// the stores.
	Open func() cachify.Store
}

// Run holds stores to the contract of [cachify.Store], in parallel subtests that are over when it returns.
// newBackend is called once in each of them; its t may be used for cleaning up.
func Run(t *testing.T, newBackend func(t *testing.T) Backend) {
	for _, group := range []struct {
		name  string
		tests []test
	}{
		{"Values", values},
		{"Heads", heads},
		{"Leases", leases},
		{"Expiry", expiry},
		{"Tags", tags},
		{"Locks", locks},
		{"SeveralLocks", severalLocks},
		{"Handover", handover},
		{"Fences", fences},
		{"Semaphores", semaphores},
		{"Renewal", renewal},
		{"Watch", watch},
		{"Follow", follows},
		{"Left", left},
		{"Lifecycle", lifecycle},
		{"History", histories},
	} {
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(newHarness(t, newBackend(t)))
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(h *harness)
}
