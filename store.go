package cachify

import (
	"context"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/follow"
)

// A Claim is what a holder asks a [Store] for and then holds: the locks at Keys, which are taken together or not at
// all, or, with Slots, one of the slots of the semaphore at its one key. Token tells the holding from all others, TTL is how long
// it lives unless it is extended, and Fences are the keys for fencing tokens, where one is wanted. All its keys
// are of one Redis Cluster slot.
type Claim = claim.Claim

// A Store keeps what clients remember and lock. [Redis] and [Memory] are the two that come with
// cachify; docs/stores.md tells how to write another one, and package storetest holds it to the
// contract below.
//
// A store knows keys, bytes and times to live, not what the bytes mean. Two ideas carry all the
// promises of this package:
//
//   - A value is told apart by its head, its first bytes. Set, Expire and Delete with a head act
//     only on a key whose present value begins with that head, and compare and act in one atomic
//     step. A nil or empty head acts always. Entries begin with an id of their own, so a head names one
//     particular lease or value.
//   - A tag is a key that holds a stamp, a number that only grows. The first tag of a list is
//     always the one that hands out stamps for its prefix, the others are those that entries carry.
//     The tags of one call always hash to one Redis Cluster slot; keys may be spread over all.
//
// Parallel slices have one length, and results come in the order of keys or tags. Every method
// honours its ctx, is safe for concurrent use, keeps no reference to the slices it is given, and
// gives slices that are the caller's own. A ttl is positive or [NoExpiry], and is rounded up to whole
// milliseconds. An error from a call for several keys means that any of them may or may not have been done.
type Store interface {
	// Get reads keys and tags. A key that is absent or expired gives nil (an empty value is not nil), a tag that is absent
	// gives 0 (stamps are positive). A name is that of a key or of a tag, never of both. left is nil, or as long as keys and
	// receives how long each value that is there has left, NoExpiry for ever.
	Get(ctx context.Context, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error)

	// Lease is Get, except that each key that is absent is set to lease for ttl in the step that
	// reads it. Its value is then nil: the caller has the lease. If an attempt is repeated after a
	// lost reply the caller may find its own lease as the value instead. Where the store can still
	// be read but not written to, Lease gives the values that are there, and an error if any is absent.
	// A lease is not evicted before its ttl ends.
	Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error)

	// Set writes values[i] to keys[i] for ttls[i], where head allows it, and tells those who watch the
	// keys. done[i] says whether it was written; a value at least as long as head whose first
	// len(head) bytes are there already counts as written, so that a repeated attempt recognises itself.
	//
	// In the same round trip it sees to it that all of tags exist: one that is absent gets the present stamp
	// of tags[0] (which itself starts from the clock when absent), and each of tags[1:] will be there for at
	// least the longest of ttls from now. This is done whether or not any key was written, or even named. It gives the tags' stamps
	// as they are then. No tags: nothing of this.
	Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) (done []bool, stamps []int64, err error)

	// Expire sets the time to live of keys anew where head allows it, and done says where it did.
	// An absent key is never created.
	Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) (done []bool, err error)

	// Delete removes keys where head allows it, and tells those who watch them, also where nothing was there.
	// Where head does not match, watchers may or may not be told. done says which were there and are gone.
	Delete(ctx context.Context, head []byte, keys []string) (done []bool, err error)

	// Advance takes the next stamp, writes it to all of tags and returns it. The next stamp is the greater of
	// tags[0]'s stamp plus one and the store's clock in microseconds since 1970, so that a lost tags[0] can't
	// take it back. A tag in tags[1:] stays for at least ttl; tags[0] does not expire.
	Advance(ctx context.Context, ttl time.Duration, tags []string) (stamp int64, err error)

	// Lock takes what c claims, and says whether its holder has it now. Locks are taken if all their keys are absent; a slot of a
	// semaphore if fewer than c.Slots are taken. Each key of a lock is set to c.Token. What c.Token holds already
	// counts as taken and lives for c.TTL from now, so that a repeated attempt recognises itself. No lock and no
	// slot is evicted before its ttl ends.
	//
	// With from, c takes over what the holder with that token has, in one step and without anybody being told: it is taken only
	// if from holds all of it. A lock stays locked, a semaphore as full as it was; only if c.Token has a slot already, that of from
	// becomes free, and those who watch are told.
	//
	// A key that holds something of another kind gives [ErrWrongType].
	//
	// Where c.Fences asks for it, the same round trip gives the fencing token of [Store.Fence].
	Lock(ctx context.Context, c Claim, from string) (fence int64, ok bool, err error)

	// Extend makes each claim live for at least its TTL from now where its token holds all of it, in one round trip. It never
	// makes a time to live shorter, so that an attempt that arrives late does no harm. done says where it did. errs is nil,
	// or says by claim where that is not known.
	Extend(ctx context.Context, claims []Claim) (done []bool, errs []error)

	// Unlock gives back what c.Token holds of c, tells those who watch c.Keys, also where nothing was there, and says whether it
	// held all of it.
	Unlock(ctx context.Context, c Claim) (ok bool, err error)

	// Fence gives the fencing token of a holding, if c.Token holds all of c.Keys: a number that is greater than any given to
	// an earlier holding of any of them, and the same each time for one holding. It is the greater of the last one
	// plus one and the store's clock in microseconds since 1970, so that a store that has lost the last one does not take it
	// back; c.Fences may therefore be forgotten a day after their last use. ok is false, and nothing changes, if
	// the token does not hold the locks.
	Fence(ctx context.Context, c Claim) (fence int64, ok bool, err error)

	// Holders gives the tokens of those who hold a lock (none or one) or the slots of a semaphore, and how long each of
	// them has left, NoExpiry for ever.
	Holders(ctx context.Context, key string, semaphore bool) (tokens []string, left []time.Duration, err error)

	// Watch returns a channel that receives after key was written or removed by Set, Delete or Unlock of any
	// client, once for any number of changes, until stop is called. It also receives when
	// notifications begin and after they may have been lost: so check key after each receive. It does not tell of
	// an expiry, and may lose a notification: check now and then as well. Watch does no I/O of its own and
	// returns at once; it may be called with a key that is watched already. stop may be called more than once.
	Watch(key string) (changes <-chan struct{}, stop func())

	// Open is called by [New] and does no I/O. Close is called by [Client.Close], once for each
	// Open: the last one ends what the store has started for its clients. A store can be opened again.
	Open()
	Close() error
}

// A Follower hears of the changes in a store: see [Followed]. Its methods are called one at a time, and are quick.
// Live says whether from now on all changes are told of; before its first call, and after one with false, some may not be. Failed
// says that the store could not begin to tell of changes, and why; it goes on trying. Changed
// says that something was written at key, whose beginning is head, 20 bytes of it at least, or that it was removed, or nobody knows
// what: then head is empty. Advanced says that tags have this stamp now.
type Follower = follow.Follower

// A Followed is a [Store] that tells of all changes. Near caches need one.
type Followed interface {
	Store

	// Follow tells f of each change by Set, Delete and Advance of any client: of keys that begin with prefix, and of the tags to
	// which stampKey gives their stamps. A change is told of soon after it can be seen, in any order. Where the store can, it also tells
	// of keys that expire, are evicted, or are removed by others. Follow does no I/O of its own and returns at once. After
	// stop has returned f hears no more.
	Follow(prefix, stampKey string, f Follower) (stop func())
}
