// Package follow holds the type that the root package and its stores share. Its public name is cachify.Follower.
package follow

// A Follower hears of the changes in a store. Its methods are called one at a time, and must be quick.
type Follower interface {
	// Live says whether from now on all changes are told of. Before the first call, and after one with false, some may not be.
	Live(live bool)

	// Failed says that the store could not begin to tell of changes, and why. It goes on trying.
	Failed(err error)

	// Changed says that something was written at key or that it was removed. head is the beginning of what was written, at least 20
	// bytes of it where there are so many; it is empty where that is not known.
	Changed(key string, head []byte)

	// Advanced says that tags have this stamp now.
	Advanced(stamp int64, tags []string)
}
