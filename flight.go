package cachify

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// A flight is work that callers of one process share: a load, or the wait for a load of another process. It
// stands for some keys and one id. For a load that is the id of its lease, and a caller may join only if it
// has itself just read that id in the store: so nobody joins a load that a Reset has overtaken. The zero
// id is that of loads without a lease, made while the store can't be used.
//
// The work runs in a goroutine of its own, with the values of the first caller's ctx but not its
// cancellation, and is cancelled when the last caller has left.
type flight struct {
	keys  []string
	id    entryID
	print uint64    // the fingerprint of what is loaded
	stamp int64     // the reset stamp that the load noted
	began time.Time // for flights without a lease, see Cached.bypass

	ctx     context.Context
	cancel  context.CancelCauseFunc
	lease   []byte // head of the lease to free if the flight is abandoned; nil: none
	waiting bool   // for another process's load
	batch   bool   // the work is that of a batch function: see batchErrorOf for its err
	callers int    // guarded by flights.mu
	shared  bool   // somebody besides the first caller has joined; guarded by flights.mu
	gone    bool   // finished or abandoned: nobody joins; guarded by flights.mu

	// Written by the work, read after done is closed.
	done    chan struct{}
	err     error    // what every caller gets instead of an entry; see errorOf
	crash   *crash   // the function did not return
	entries [][]byte // by key; nil where there is none to share
	alone   bool     // where there is none, callers run the function for themselves; else they go to the store again
	stamps  []int64  // for a wait: what was read with the entry

	// For a wait that the store did not let go on: why, and when.
	storeErr error
	failedAt time.Time
}

// A crash is a panic or a Goexit of a user's function, carried to the caller that ran it.
type crash struct {
	goexit bool
	value  any // of the panic
}

// resume goes on with the crash in the goroutine of the caller that ran the function.
func (cr *crash) resume() {
	switch {
	case cr == nil:
	case cr.goexit:
		runtime.Goexit()
	default:
		panic(cr.value)
	}
}

// errorOf gives the error of one of the keys.
func (f *flight) errorOf(index int) error {
	if f.batch {
		return errorAt(f.err, index)
	}
	return f.err
}

// A place is a key's place in a flight.
type place struct {
	*flight
	index int
}

// A flightKey has the fingerprint beside key and id, since wrappers of one template may be of different types.
type flightKey struct {
	key   string
	id    entryID
	print uint64
}

type flights struct {
	mu sync.Mutex
	m  map[flightKey]place
}

// newFlight makes a flight with its first caller, yet to be registered.
func newFlight(ctx, lifetime context.Context, id entryID, print uint64, keys ...string) *flight {
	f := &flight{keys: keys, id: id, print: print, began: time.Now(), callers: 1, done: make(chan struct{})}
	f.ctx, f.cancel = detach(ctx, lifetime)
	return f
}

// detach returns a ctx with the values of ctx that ends with lifetime or by cancel only.
func detach(ctx, lifetime context.Context) (context.Context, context.CancelCauseFunc) {
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(lifetime, func() { cancel(context.Cause(lifetime)) })
	return detached, func(cause error) {
		stop()
		cancel(cause)
	}
}

// register lets callers join a flight, in the place of another one of the same key and id.
func (fs *flights) register(f *flight) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.registerLocked(f)
}

func (fs *flights) registerLocked(f *flight) {
	if fs.m == nil {
		fs.m = make(map[flightKey]place)
	}
	for i, key := range f.keys {
		fs.m[flightKey{key, f.id, f.print}] = place{f, i}
	}
}

// joinOrStart takes a place in the flight of key and id, or, if there is none, registers the flight that start makes.
// With a flight that suits denies, it does neither and returns no place.
func (fs *flights) joinOrStart(key flightKey, suits func(*flight) bool, start func() *flight) (p place, started bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	p, found := fs.m[key]
	switch {
	case !found:
		f := start()
		fs.registerLocked(f)
		return place{f, 0}, true
	case !suits(p.flight):
		return place{}, false
	}
	p.callers++
	p.shared = true
	return p, false
}

// leave takes a caller off before the end. The last one ends the flight: its ctx is cancelled and nobody joins any
// more; leave then returns true.
func (fs *flights) leave(f *flight) (abandoned bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	f.callers--
	if f.callers > 0 || f.gone {
		return false
	}
	fs.unregister(f)
	f.cancel(context.Canceled)
	return true
}

// close lets nobody join any more, and says whether anybody besides the first caller has joined.
func (fs *flights) close(f *flight) (shared bool) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.unregister(f)
	return f.shared
}

// abandoned says whether all callers have left. The work asks before it closes the flight.
func (fs *flights) abandoned(f *flight) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return f.gone
}

// finish lets the callers go on. The work does it last.
func (f *flight) finish() {
	close(f.done)
	f.cancel(nil)
}

func (fs *flights) unregister(f *flight) {
	f.gone = true
	for i, key := range f.keys {
		k := flightKey{key, f.id, f.print}
		if fs.m[k] == (place{f, i}) {
			delete(fs.m, k)
		}
	}
}

// forgetBypasses keeps later callers off the flights without a lease: what they load may be older than a
// reset in this process.
func (fs *flights) forgetBypasses(keys ...string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for k := range fs.m {
		if k.id == (entryID{}) && (len(keys) == 0 || slices.Contains(keys, k.key)) {
			delete(fs.m, k)
		}
	}
}

// wait returns nil once the flight has finished, or ctx's error.
func (f *flight) wait(ctx context.Context) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// waiterError is what callers get whose load, run by another caller, crashed.
func (cr *crash) waiterError(template string) error {
	if cr.goexit {
		return fmt.Errorf("cachify: the function of %q ended its goroutine in another call", template)
	}
	if err, ok := cr.value.(error); ok {
		return fmt.Errorf("cachify: the function of %q panicked in another call: %w", template, err)
	}
	return fmt.Errorf("cachify: the function of %q panicked in another call: %v", template, cr.value)
}
