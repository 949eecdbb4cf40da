// Package exclusion checks on running processes that a lock is held by one at a time and a semaphore by so many at a time, while
// holders are killed and paused, and the server is stopped, flushed and cut off.
//
// Each holder keeps a record of when it believed that it held the lock: from its first look at the lease to the last one at
// which it saw itself alive, that is, the lease's context was not done or Valid was true. It reads the clock before it looks.
// What is over does not come back, so who is alive at the look was alive at that reading. The [Span] from the first such
// reading to the last is therefore certain, and spans are compared without any tolerance. The clock is
// CLOCK_MONOTONIC, which all processes of a machine share. The records are in files that are mapped into memory: what is
// stored there is in the file at once, and stays there when the process is killed.
//
// What the controls of the tests show is that the check can fail. What it can't see: a span is too short by up to one
// look, a millisecond or so, so two holders at a time for less than that may not be found.
//
// A machine that is short of processors pauses processes by itself, as SIGSTOP does, and a context ends by a timer, which
// can't run meanwhile. Each process therefore writes down when it stood still. Spans by the context alone do not count
// for that time and a moment after it; spans by Valid, which needs no timer, count always.
//
// A check of the whole history for linearizability would not find more: the operations of one lock are linearizable exactly if the
// spans in which it is held do not overlap.
//
// Beside that: fencing tokens grow ([Disorder]), nobody waits for long for what nobody holds ([LongestIdle]), and who loses
// a lock by FLUSHALL is told, and excludes nobody from then on ([Surviving]).
package exclusion

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// A Span is a time for which somebody held a key, or waited for it, in nanoseconds of one clock. Both ends belong to it.
type Span struct {
	Key      int
	From, To int64
	Holder   string
}

// Duration is how long the span lasts.
func (s Span) Duration() time.Duration { return time.Duration(s.To - s.From) }

// A Crowd is a time for which too many held a key at once.
type Crowd struct {
	Key      int
	From, To int64
	Holders  []string // at its beginning
}

func (c Crowd) String() string {
	return fmt.Sprintf("key %d: %q for %v", c.Key, c.Holders, c.Duration())
}

// Duration is how long the crowd lasted.
func (c Crowd) Duration() time.Duration { return time.Duration(c.To - c.From) }

// Crowds gives the times at which more than limit of spans have the same key, in the order of time.
func Crowds(spans []Span, limit int) []Crowd {
	var crowds []Crowd
	for _, some := range byKey(spans) {
		crowds = append(crowds, crowdsOfOne(some, limit)...)
	}
	slices.SortFunc(crowds, func(a, b Crowd) int { return cmp.Compare(a.From, b.From) })
	return crowds
}

func byKey(spans []Span) map[int][]Span {
	m := map[int][]Span{}
	for _, s := range spans {
		m[s.Key] = append(m[s.Key], s)
	}
	return m
}

func crowdsOfOne(spans []Span, limit int) (crowds []Crowd) {
	present := map[int]bool{}
	for _, e := range edges(spans) {
		if !e.begins {
			if len(present) == limit+1 {
				crowds[len(crowds)-1].To = e.at
			}
			delete(present, e.span)
			continue
		}
		present[e.span] = true
		if len(present) == limit+1 {
			crowds = append(crowds, Crowd{Key: spans[e.span].Key, From: e.at, Holders: holders(spans, present)})
		}
	}
	return crowds
}

func holders(spans []Span, present map[int]bool) (names []string) {
	for i := range present {
		names = append(names, spans[i].Holder)
	}
	slices.Sort(names)
	return names
}

// An edge is an end of a span.
type edge struct {
	at     int64
	begins bool
	span   int
}

// edges gives the ends of spans in the order of time. Where several are at one time, the beginnings come first, for a
// moment that belongs to two spans is one too many.
func edges(spans []Span) []edge {
	all := make([]edge, 0, 2*len(spans))
	for i, s := range spans {
		all = append(all, edge{s.From, true, i}, edge{s.To, false, i})
	}
	slices.SortFunc(all, func(a, b edge) int {
		if a.at == b.at && a.begins != b.begins {
			if a.begins {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	return all
}
