package memstore

// A sieve is a queue of values and a hand that moves over it from the oldest to the newest. It evicts
// the first value that was not read since the hand came by the last time. A value that is read stays
// in its place, so a hit costs no more than setting a mark, and values that are written and never read
// again, as in a scan, leave without pushing out those in use.
//
// The algorithm is SIEVE: Zhang, Yang, Yue, Vigfusson, Rashmi: SIEVE is Simpler than LRU: an Efficient
// Turn-Key Eviction Algorithm for Web Caches. NSDI 2024.
type sieve struct {
	newest *entry
	oldest *entry
	hand   *entry
	length int
}

func (q *sieve) insert(e *entry) {
	e.older = q.newest
	if q.newest != nil {
		q.newest.newer = e
	} else {
		q.oldest = e
	}
	q.newest = e
	q.length++
}

func (q *sieve) remove(e *entry) {
	if q.hand == e {
		q.hand = e.newer
	}
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		q.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		q.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	q.length--
}

// victim gives the value to evict, nil if there is none or if all were marked as read. The marks are
// gone then, and the next call finds one.
func (q *sieve) victim() *entry {
	for range q.length {
		if q.hand == nil {
			q.hand = q.oldest
		}
		e := q.hand
		q.hand = e.newer
		if !e.visited {
			return e
		}
		e.visited = false
	}
	return nil
}
