package redisstore

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// crowd is how many calls at a time are still sent each for itself. A lone caller would only wait for company in vain.
	crowd = 4

	// calmAfter is how many small batches in a row end it that reads travel together.
	calmAfter = 8

	// bigValue is the size above which a value travels alone, so that others need not wait for it.
	bigValue = 16 << 10

	bigSlots = 1024
)

// lanes decide which reads travel together, and which way.
type lanes struct {
	store   *Store
	cluster *redis.ClusterClient // nil: it is none
	sole    *lane                // nil unless all keys are in one place

	inFlight atomic.Int32
	crowded  atomic.Bool
	small    atomic.Int32 // batches in a row
	known    atomic.Bool  // the client knows its Cluster
	big      bigKeys

	mu   sync.RWMutex
	more map[route]*lane
}

// A route is what reads have to share to travel together: the server that has their keys, so that one that hangs keeps nobody
// else waiting, and the Cluster slot of their tags.
type route struct{ server, stamp string }

func newLanes(s *Store, rdb redis.UniversalClient) *lanes {
	l := &lanes{store: s, big: bigKeys{seed: maphash.MakeSeed()}}
	if s.single {
		l.sole = l.newLane()
	} else {
		l.cluster, _ = rdb.(*redis.ClusterClient)
		l.more = make(map[route]*lane)
	}
	return l
}

func (l *lanes) newLane() *lane {
	return &lane{send: l.store.exec, mget: l.store.single, index: make(map[string]int), sent: l.sent}
}

// enter counts a call that has begun, and says whether there are enough of them to travel together.
func (l *lanes) enter() bool {
	if l.inFlight.Add(1) > crowd && !l.crowded.Load() {
		l.small.Store(0)
		l.crowded.Store(true)
	}
	return l.crowded.Load()
}

func (l *lanes) exit() { l.inFlight.Add(-1) }

// sent hears how many callers a batch has.
func (l *lanes) sent(callers int) {
	if callers > crowd/2 || l.inFlight.Load() > crowd {
		if l.small.Load() != 0 {
			l.small.Store(0)
		}
	} else if l.small.Add(1) >= calmAfter {
		l.crowded.Store(false)
	}
}

// alone hears of a call that has travelled alone and found a value of this size.
func (l *lanes) alone(key string, size int, crowded bool) {
	if !l.known.Load() {
		l.known.Store(true)
	}
	if crowded {
		l.big.note(key, size)
	}
}

// lane gives the lane for a key, nil if there is none by now.
func (l *lanes) lane(ctx context.Context, key, stamp string) *lane {
	if l.sole != nil {
		return l.sole
	}
	r := route{stamp: stamp}
	if l.cluster != nil {
		if !l.known.Load() {
			return nil // to ask for the node would take as long as the server pleases
		}
		node, err := l.cluster.MasterForKey(ctx, key)
		if err != nil {
			return nil
		}
		r.server = node.Options().Addr
	}
	l.mu.RLock()
	found := l.more[r]
	l.mu.RUnlock()
	if found != nil {
		return found
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more[r] == nil {
		l.more[r] = l.newLane()
	}
	return l.more[r]
}

func (l *lanes) all() []*lane {
	if l.sole != nil {
		return []*lane{l.sole}
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Collect(maps.Values(l.more))
}

// close waits until nothing is under way, but not for longer than closeTimeout.
func (l *lanes) close() {
	timeout := time.After(closeTimeout)
	for _, lane := range l.all() {
		ended := lane.ended()
		if ended == nil {
			continue
		}
		select {
		case <-ended:
		case <-timeout:
			return
		}
	}
}

// A ReadError is why a Lease failed before it wrote anything.
type ReadError struct {
	Err   error
	Again bool // another call, which travelled together with this one, has been given it too
}

func (e *ReadError) Error() string { return e.Err.Error() }
func (e *ReadError) Unwrap() error { return e.Err }

// readTogether reads a key and its tags together with others, by a batch that is yet to be sent. ok says whether there is a value. If there is
// none, or the server has not answered as it should, that is for a call of its own to see to.
func (s *Store) readTogether(ctx context.Context, key string, tags []string, left []time.Duration) (values [][]byte, stamps []int64, ok bool, err error) {
	if s.lanes.big.has(key) {
		return nil, nil, false, nil
	}
	lane := s.lanes.lane(ctx, key, tags[0])
	if lane == nil {
		return nil, nil, false, nil
	}
	var buf [4]int
	p := lane.join(ctx, key, tags, left != nil, buf[:0])
	select {
	case <-p.batch.done:
	case <-ctx.Done():
		lane.leave(p.batch)
		return nil, nil, false, &ReadError{Err: failed(ctx, "get", ctx.Err())}
	}
	if p.batch.err != nil {
		return nil, nil, false, &ReadError{Err: failed(ctx, "get", p.batch.err), Again: p.batch.failed.Swap(true)}
	}
	value, stamps, ok := p.read(lane.mget, left)
	if s.single {
		s.expected.note(key, ok)
	}
	if !ok {
		return nil, nil, false, nil
	}
	s.lanes.big.note(key, len(value))
	return [][]byte{value}, stamps, true, nil
}

// bigKeys knows keys that had a big value when they were last read. A key that shares its slot with another may go unknown.
type bigKeys struct {
	seed  maphash.Seed
	slots [bigSlots]atomic.Uint64
}

func (b *bigKeys) slot(key string) (*atomic.Uint64, uint64) {
	h := maphash.String(b.seed, key) | 1 // never that of an empty slot
	return &b.slots[h/2%bigSlots], h
}

func (b *bigKeys) has(key string) bool {
	slot, h := b.slot(key)
	return slot.Load() == h
}

func (b *bigKeys) note(key string, size int) {
	slot, h := b.slot(key)
	switch {
	case size > bigValue:
		slot.Store(h)
	case slot.Load() == h:
		slot.Store(0)
	}
}
