package memstore

import (
	"container/heap"
	"math"
	"sync/atomic"
	"time"
)

// never is the deadline of what does not expire.
const never = math.MaxInt64

// deadline gives the time at which ttl ends, rounded up to whole milliseconds. A negative ttl never ends.
func deadline(now int64, ttl time.Duration) int64 {
	if ttl < 0 || int64(ttl) > never-int64(time.Millisecond)-now {
		return never
	}
	rest := ttl % time.Millisecond
	if rest > 0 {
		ttl += time.Millisecond - rest
	}
	return now + int64(ttl)
}

// remaining is the time to live that is left at now of what ends at until, -1 for ever.
func remaining(now, until int64) time.Duration {
	if until == never {
		return -1
	}
	return time.Duration(until - now)
}

// A timer is a key and its deadline.
type timer struct {
	key   string
	until atomic.Int64 // atomic because stamps are read without a lock
	place int          // in the heap, -1 if it is not there
}

func newTimer(key string) timer { return timer{key: key, place: -1} }

func (t *timer) expired(now int64) bool { return t.until.Load() <= now }

// timers is a heap, the timer that ends first on top. Timers that never end are not in it.
type timers struct{ heap timerHeap }

// set gives t a deadline.
func (ts *timers) set(t *timer, until int64) {
	t.until.Store(until)
	switch {
	case until == never:
		ts.drop(t)
	case t.place < 0:
		heap.Push(&ts.heap, t)
	default:
		heap.Fix(&ts.heap, t.place)
	}
}

// drop takes t out of the heap and leaves its deadline as it is.
func (ts *timers) drop(t *timer) {
	if t.place >= 0 {
		heap.Remove(&ts.heap, t.place)
	}
}

// due gives a timer that has ended, nil if there is none.
func (ts *timers) due(now int64) *timer {
	if len(ts.heap) == 0 || !ts.heap[0].expired(now) {
		return nil
	}
	return ts.heap[0]
}

type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].until.Load() < h[j].until.Load() }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	t.place = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	t.place = -1
	return t
}
