package memstore

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// What a tag takes beyond its name. TestOverhead measures it.
const tagOverhead = 200

// stamps are the tags. Readers take no lock, because nearly every call reads the same few tags: one
// lock would be what all processors wait for. Writers take turns, so what they do is atomic among them.
type stamps struct {
	mu     sync.Mutex
	tags   sync.Map // name to *tag
	expiry timers
	used   atomic.Int64
}

// A tag that expires is taken back to life by a write. So a writer sets the stamp before the deadline,
// and a reader looks at the deadline first: it never sees the new deadline with the old stamp.
type tag struct {
	timer
	stamp atomic.Int64
}

// read gives the stamps of names, 0 for those that are absent.
func (s *stamps) read(names []string, now int64) []int64 {
	if len(names) == 0 {
		return nil
	}
	found := make([]int64, len(names))
	for i, name := range names {
		if t := s.live(name, now); t != nil {
			found[i] = t.stamp.Load()
		}
	}
	return found
}

// ensure sees to it that all of names exist, the first for ever and the others at least until the given
// time, and gives their stamps. A new one gets the stamp of the first, which starts from the clock.
func (s *stamps) ensure(names []string, now, until int64) []int64 {
	if len(names) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found := make([]int64, len(names))
	first := clock()
	for i, name := range names {
		t := s.live(name, now)
		if t == nil {
			t = s.write(name, first)
		}
		found[i] = t.stamp.Load()
		if i == 0 {
			first = found[0]
		}
		s.prolong(t, i, until)
	}
	return found
}

// advance takes the next stamp and writes it to all of names.
func (s *stamps) advance(names []string, now, until int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := clock()
	if t := s.live(names[0], now); t != nil {
		next = max(next, t.stamp.Load()+1)
	}
	for i, name := range names {
		s.prolong(s.write(name, next), i, until)
	}
	return next
}

// reclaim takes away a few tags that have expired.
func (s *stamps) reclaim(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range reclaimStep {
		t := s.expiry.due(now)
		if t == nil {
			return
		}
		s.expiry.drop(t) // its deadline stays: a reader may still hold it
		s.tags.Delete(t.key)
		s.used.Add(-int64(len(t.key)) - tagOverhead)
	}
}

func (s *stamps) live(name string, now int64) *tag {
	v, ok := s.tags.Load(name)
	if !ok {
		return nil
	}
	if t := v.(*tag); !t.expired(now) {
		return t
	}
	return nil
}

// write sets the stamp of name. A new tag has no life until prolong gives it one.
func (s *stamps) write(name string, stamp int64) *tag {
	if v, ok := s.tags.Load(name); ok {
		t := v.(*tag)
		t.stamp.Store(stamp)
		return t
	}
	t := &tag{timer: newTimer(strings.Clone(name))}
	t.stamp.Store(stamp)
	s.tags.Store(t.key, t)
	s.used.Add(int64(len(name)) + tagOverhead)
	return t
}

// prolong gives t, the i-th tag of a call, time until the given deadline and never takes any from it.
// The first one hands out stamps, so it stays for ever.
func (s *stamps) prolong(t *tag, i int, until int64) {
	if i == 0 {
		until = never
	}
	if until > t.until.Load() {
		s.expiry.set(&t.timer, until)
	}
}

// clock is where stamps start: microseconds since 1970.
func clock() int64 { return time.Now().UnixMicro() }
