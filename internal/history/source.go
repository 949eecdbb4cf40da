// Package history checks the promise about Reset on running clients: it lets many goroutines in several
// processes call everything at random over a few keys, and compares each value with a source of truth that only grows.
package history

import (
	"sync/atomic"
	"unsafe"
)

// Keys is how many keys the source has. Few, so that operations meet.
const Keys = 6

// A Source is the source of truth, in memory that processes may share.
type Source struct{ cells *[Keys]cell }

type cell struct {
	version atomic.Int64 // of the row; it only grows
	floor   atomic.Int64 // what a Get that starts now must give at least
	puts    atomic.Int64 // the lock between Put and the resets: -1 held by a Put, else the number of resets
	_       [5]int64     // a cache line for each
}

// sourceSize is how many bytes a Source needs.
const sourceSize = int(unsafe.Sizeof([Keys]cell{}))

// NewSource makes a source in memory, which is zero where the source is new and begins on an 8-byte boundary.
func NewSource(memory []byte) Source {
	return Source{(*[Keys]cell)(unsafe.Pointer(unsafe.SliceData(memory[:sourceSize])))}
}

// Write makes a new version of the row.
func (s Source) Write(key int) int64 { return s.cells[key].version.Add(1) }

// Read returns the row.
func (s Source) Read(key int) int64 { return s.cells[key].version.Load() }

// Floor returns the least version that a read which starts now may give.
func (s Source) Floor(key int) int64 { return s.cells[key].floor.Load() }

// raise notes that a reset which began at version has returned.
func (s Source) raise(key int, version int64) {
	floor := &s.cells[key].floor
	for {
		old := floor.Load()
		if version <= old || floor.CompareAndSwap(old, version) {
			return
		}
	}
}

// tryPut excludes resets of key, and tryReset excludes puts. Who calls Put with a row that was read before another's Reset
// began stores an old row by his own doing, so the two must not overlap here. Both give up rather than wait.
func (s Source) tryPut(key int) bool { return s.cells[key].puts.CompareAndSwap(0, -1) }
func (s Source) donePut(key int)     { s.cells[key].puts.Store(0) }
func (s Source) doneReset(keys ...int) {
	for _, key := range keys {
		s.cells[key].puts.Add(-1)
	}
}

func (s Source) tryReset(keys ...int) bool {
	for i, key := range keys {
		if !s.tryResetOne(key) {
			s.doneReset(keys[:i]...)
			return false
		}
	}
	return true
}

func (s Source) tryResetOne(key int) bool {
	puts := &s.cells[key].puts
	for {
		n := puts.Load()
		if n < 0 {
			return false
		}
		if puts.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
