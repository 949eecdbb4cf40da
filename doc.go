// Package cachify makes functions remember their results and run one at a time, across every process of a service.
//
// Wrap a function of the service layer, call the wrapper instead, call Reset after writes, and guard concurrent
// updates with a [Once]:
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
// # What it promises
//
// After Reset returns, no Get that starts later, in any process, returns a value that was loaded before that Reset
// began. One caller in the whole fleet loads a key that is missing, and the others wait for it. A caller's
// cancellation never fails the others. Two different arguments never share a key. An entry of another format, template or
// type is a miss, never a wrong value. docs/guarantees.md says how, and where the promises end.
//
// # When the store fails
//
// Cached functions fail open: the function runs, and its result is what the caller gets. Once fails closed: the
// function does not run. docs/failure.md has the whole table.
//
// # Concurrency
//
// Everything in this package is safe for concurrent use. Wrappers are made once, at start-up, and shared.
package cachify
