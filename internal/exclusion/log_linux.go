package exclusion

import (
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"
)

// Now reads CLOCK_MONOTONIC, in nanoseconds. It is the clock of Go's monotonic readings too, but those can't be compared across
// processes.
func Now() int64 {
	const monotonic = 1
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, monotonic, uintptr(unsafe.Pointer(&ts)), 0)
	if errno != 0 {
		panic(errno)
	}
	return ts.Nano()
}

// A Log is what one process writes down of its attempts at taking locks, in a file that another process may read at
// any time.
type Log struct {
	memory []byte
	page   *page
}

// A log has room for so many attempts and stalls. The file is sparse: it takes no more space than is used.
const (
	maxAttempts = 1 << 18
	maxStalls   = 1 << 14
)

type page struct {
	attempts atomic.Int64 // how many entries
	holdings atomic.Int64 // how many attempts were successful
	held     atomic.Int64 // how many of these have not ended
	stalled  atomic.Int64 // how many stalls
	_        [4]int64     // a cache line of their own
	stalls   [maxStalls]struct{ from, to atomic.Int64 }
	entries  [maxAttempts]Entry
}

// An Entry is one attempt. Its times are those of [Now], 0 for what has not happened.
type Entry struct {
	keys                                     atomic.Int64 // a bit for each; 0 is an entry that is not complete yet
	began, got, valid, alive, leaving, ended atomic.Int64
	fence, asked, had                        atomic.Int64
	note                                     atomic.Int64
	_                                        int64
}

// OpenLog opens a log, and makes the file if it is not there.
func OpenLog(path string) (*Log, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const size = unsafe.Sizeof(page{})
	if err := f.Truncate(int64(size)); err != nil {
		return nil, err
	}
	memory, err := syscall.Mmap(int(f.Fd()), 0, int(size), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &Log{memory, (*page)(unsafe.Pointer(unsafe.SliceData(memory)))}, nil
}

// Close ends the use of the log and of its entries.
func (l *Log) Close() error { return syscall.Munmap(l.memory) }

// Begin writes down that an attempt at taking keys begins now. Keys are less than 63.
func (l *Log) Begin(keys ...int) *Entry {
	n := l.page.attempts.Add(1)
	if n > maxAttempts {
		panic(fmt.Sprintf("exclusion: more than %d attempts in one log", maxAttempts))
	}
	var mask int64
	for _, key := range keys {
		mask |= 1 << key
	}
	e := &l.page.entries[n-1]
	e.began.Store(Now())
	e.keys.Store(mask)
	return e
}

// Got writes down that the attempt has succeeded, and that the holder was alive at the given time.
func (l *Log) Got(e *Entry, at int64) {
	e.valid.Store(at)
	e.alive.Store(at)
	e.got.Store(at) // last: from now on the others count
	l.page.holdings.Add(1)
	l.page.held.Add(1)
}

// Alive writes down that the holder was alive at the given time, and whether its lease was valid.
func (e *Entry) Alive(at int64, valid bool) {
	e.alive.Store(at)
	if valid {
		e.valid.Store(at)
	}
}

// Fence writes down the fencing token, see [Token].
func (e *Entry) Fence(fence, asked, had int64) {
	e.asked.Store(asked)
	e.had.Store(had)
	e.fence.Store(fence)
}

// Note writes down one of the notes.
func (e *Entry) Note(note int64) { e.note.Or(note) }

// Leaving writes down that the holder begins to release the lock.
func (e *Entry) Leaving() { e.leaving.Store(Now()) }

// Ended writes down that the attempt has failed, or that the lock has been released.
func (l *Log) Ended(e *Entry) {
	e.ended.Store(Now())
	if e.got.Load() != 0 {
		l.page.held.Add(-1)
	}
}

// Stalled writes down that a part of the process at least stood still.
func (l *Log) Stalled(from, to int64) {
	if n := l.page.stalled.Add(1); n <= maxStalls {
		l.page.stalls[n-1].from.Store(from)
		l.page.stalls[n-1].to.Store(to)
	}
}

// The notes of an [Entry].
const (
	Waited      = 1 << iota // for one key and nothing else
	Renewed                 // the lease is renewed for as long as it is held
	Lost                    // the holder saw that it had lost the lock
	BadCause                // but the cause of its context was not ErrLockLost
	ReleaseLost             // Release said that the lock was lost
	ReleaseFail             // Release said something else
	Wrote                   // what the lock protects
	TurnedAway              // by what the lock protects
)

// An Attempt is what an entry says.
type Attempt struct {
	Holder                                   string
	Keys                                     []int
	Began, Got, Valid, Alive, Leaving, Ended int64
	Fence, Asked, Had                        int64
	Note                                     int64
}

// Spans gives a span for each key.
func (a Attempt) Spans(from, to int64) (spans []Span) {
	for _, key := range a.Keys {
		spans = append(spans, Span{key, from, to, a.Holder})
	}
	return spans
}

// Tokens gives the fencing token for each key, if the attempt got one.
func (a Attempt) Tokens() (tokens []Token) {
	if a.Fence == 0 {
		return nil
	}
	for _, key := range a.Keys {
		tokens = append(tokens, Token{key, a.Asked, a.Had, a.Fence, a.Holder})
	}
	return tokens
}

// Holdings is how many attempts were successful until now.
func (l *Log) Holdings() int { return int(l.page.holdings.Load()) }

// Held is how many locks the process holds now.
func (l *Log) Held() int { return int(l.page.held.Load()) }

// Stalls gives when a part of the process stood still, in no order.
func (l *Log) Stalls() (all []Span) {
	for i := range min(l.page.stalled.Load(), maxStalls) {
		if s := &l.page.stalls[i]; s.to.Load() != 0 { // else the process was killed while it wrote it down
			all = append(all, Span{From: s.from.Load(), To: s.to.Load()})
		}
	}
	return all
}

// Attempts gives what is in the log of the process of that name.
func (l *Log) Attempts(name string) (all []Attempt) {
	for i := range min(l.page.attempts.Load(), maxAttempts) {
		if e := &l.page.entries[i]; e.keys.Load() != 0 {
			all = append(all, e.attempt(fmt.Sprintf("%s, attempt %d", name, i)))
		}
	}
	return all
}

func (e *Entry) attempt(name string) Attempt {
	a := Attempt{
		Holder: name,
		Began:  e.began.Load(), Got: e.got.Load(), Valid: e.valid.Load(), Alive: e.alive.Load(),
		Leaving: e.leaving.Load(), Ended: e.ended.Load(),
		Fence: e.fence.Load(), Asked: e.asked.Load(), Had: e.had.Load(),
		Note: e.note.Load(),
	}
	for key := range 63 {
		if e.keys.Load()&(1<<key) != 0 {
			a.Keys = append(a.Keys, key)
		}
	}
	return a
}
