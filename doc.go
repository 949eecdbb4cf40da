// Package cachify makes functions remember their results and run one at a time, across every process of a service.
//
// Wrap a function of the service layer, call the wrapper instead, call Reset after writes, and guard concurrent
// updates with a [Once], a [Lock] or a [Semaphore]:
//
//	type ReadUser struct {
//		UserID int64 `key:"user_id"`
//	}
//
//	client := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "myapp:"}) // or cachify.Memory()
//	readUser := cachify.Must(cachify.NewCached(client, "read_user-<user_id>", repo.ReadUser, nil))
//
//	user, err := readUser.Get(ctx, ReadUser{UserID: 42})
//	err = readUser.Reset(ctx, ReadUser{UserID: 42})
//
//	lock := cachify.Must(cachify.NewLock[ReadUser](client, "user-<user_id>", nil))
//	err = lock.Do(ctx, ReadUser{UserID: 42}, func(ctx context.Context) error { ... })
//
// # What it promises
//
// After Reset returns, no Get that starts later, in any process, returns a value that was loaded before that Reset
// began. One caller in the whole fleet loads a key that is missing, and the others wait for it. A caller's
// cancellation never fails the others. Two different arguments never share a key. An entry of another format, template or
// type is a miss, never a wrong value. docs/guarantees.md says how, and where the promises end.
//
// # Locks
//
// A lock is a [Lease]: it has a TTL, is renewed until it is released, and its context is cancelled with cause [ErrLockLost]
// before its TTL can have run out. Waiters are woken by the release, first come first served within a client. What it works
// on can turn away a holder who has lost it, by a fencing token, see [Lease.Fence]. docs/locks.md says what a lock on Redis
// can't promise.
//
// # When the store fails
//
// Cached functions fail open: the function runs, and its result is what the caller gets. Locks, semaphores and Once fail
// closed: nothing runs. docs/failure.md has the whole table.
//
// # Concurrency
//
// Everything in this package is safe for concurrent use. Wrappers are made once, at start-up, and shared.
package cachify
