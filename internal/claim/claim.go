// Package claim holds the type that the root package and its stores share. Its public name is cachify.Claim.
package claim

import (
	"errors"
	"time"
)

// ErrWrongType is cachify.ErrWrongType.
var ErrWrongType = errors.New("something of another kind is at this key: delete it, or choose another template or prefix")

// A Claim is what a holder asks a store for and then holds: a lock, several locks at once, or one of the slots of a semaphore.
type Claim struct {
	// Keys are those of the locks, which are taken together or not at all; a semaphore has one. The keys of a claim and its
	// Fences belong to one Redis Cluster slot.
	Keys []string

	// Token is the holder's. No two holdings have the same one, and it is not empty. It is what a lock's key holds.
	Token string

	// TTL is how long the claim lives unless it is extended. It is positive, or NoExpiry.
	TTL time.Duration

	// Slots is how many holders the semaphore admits at a time; 0 means locks.
	Slots int

	// Fences are the keys that remember the last fencing tokens of Keys, in the same order. None where no fencing token is
	// wanted, and never any for a semaphore.
	Fences []string
}
