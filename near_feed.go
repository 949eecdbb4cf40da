package cachify

import (
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxNearTags bounds the tags whose resets a feed remembers.
const maxNearTags = 10_000

// A nearFeed brings the changes that the store tells of to the near caches of a client. Nothing is given out of them while
// changes may be missed.
type nearFeed struct {
	prefix string    // of the entries' keys
	born   time.Time // what now counts from
	log    func() *slog.Logger
	live   atomic.Bool

	mu      sync.Mutex // of starting, and of live's changes
	failing bool       // and it is logged
	nears   []*near
	started bool
	stop    func()
	closed  bool

	commonOnce sync.Once
	commonNear *near

	latest atomic.Int64  // the latest stamp that is known
	resets atomic.Uint64 // how often tags were reset
	tagsMu sync.RWMutex
	tags   map[string]int64 // when tags were reset last
	floor  int64            // what is not in tags was reset no later than this

	received atomic.Int64
}

// common gives the near cache of all wrappers that have none of their own.
func (f *nearFeed) common(store Followed, opts *NearOptions, stampKey string) *near {
	f.commonOnce.Do(func() { f.commonNear = f.add(store, *opts, stampKey) })
	return f.commonNear
}

// add gives a new near cache. With the first one, the feed starts.
func (f *nearFeed) add(store Followed, opts NearOptions, stampKey string) *near {
	n := newNear(f, opts)
	f.mu.Lock()
	f.nears = append(f.nears[:len(f.nears):len(f.nears)], n)
	start := !f.started && !f.closed
	f.started = true
	f.mu.Unlock()
	if !start {
		return n
	}
	stop := store.Follow(f.prefix, stampKey, f) // may call f at once
	f.mu.Lock()
	closed := f.closed
	f.stop = stop
	f.mu.Unlock()
	if closed {
		stop()
	}
	return n
}

// close ends the feed, and all use of the near caches.
func (f *nearFeed) close() {
	f.mu.Lock()
	stop := f.stop
	f.stop, f.closed = nil, true
	f.live.Store(false)
	f.mu.Unlock()
	if stop != nil {
		stop()
	}
}

// now is the time on the monotonic clock.
func (f *nearFeed) now() time.Duration { return time.Since(f.born) }

// Live is told by the store: whether from now on all changes are told of.
func (f *nearFeed) Live(live bool) {
	f.mu.Lock()
	f.live.Store(false)
	for _, n := range f.nears {
		n.clear()
	}
	f.live.Store(live && !f.closed)
	again := live && f.failing
	if live {
		f.failing = false
	}
	f.mu.Unlock()
	if again {
		f.log().Info("cachify: the store tells of changes again, and near caches are used")
	}
}

// Failed is told by the store: it could not begin to tell of changes. Once for each outage that is logged.
func (f *nearFeed) Failed(err error) {
	f.mu.Lock()
	again := f.failing || f.closed
	f.failing = true
	f.mu.Unlock()
	if !again {
		f.log().Warn("cachify: the store does not tell of changes; near caches are not used until it does", "error", err)
	}
}

// Changed is told by the store: what begins with head was written at key, or it was removed.
func (f *nearFeed) Changed(key string, head []byte) {
	f.received.Add(1)
	f.changed(idOf(head), key)
}

func (f *nearFeed) changed(id entryID, keys ...string) {
	f.mu.Lock()
	nears := f.nears
	f.mu.Unlock()
	for _, n := range nears {
		for _, key := range keys {
			n.changed(key, id)
		}
	}
}

// idOf gives the id in the head of a value; zero for that of a lease, which is no value, and for anything else.
func idOf(head []byte) (id entryID) {
	if len(head) >= headSize && string(head[:2]) == envelopeMagic && head[3]&flagLease == 0 {
		copy(id[:], head[4:])
	}
	return id
}

// Advanced is told by the store: tags were reset.
func (f *nearFeed) Advanced(stamp int64, tags []string) {
	f.received.Add(1)
	f.advanced(stamp, tags)
}

func (f *nearFeed) advanced(stamp int64, tags []string) {
	f.tagsMu.Lock()
	defer f.tagsMu.Unlock()
	if f.tags == nil || len(f.tags)+len(tags) > maxNearTags {
		f.floor = f.latest.Load()
		f.tags = make(map[string]int64, len(tags))
	}
	for _, tag := range tags {
		f.tags[strings.Clone(tag)] = max(stamp, f.tags[tag])
	}
	f.latest.Store(max(stamp, f.latest.Load()))
	f.resets.Add(1)
}

// fresh says whether no tag of an entry was reset after it was found fresh. Between two resets of any tags it has to look once
// for each entry. Resets may become known in another order than that of their stamps, so it goes by their number.
func (f *nearFeed) fresh(e *nearEntry) bool {
	if f.latest.Load() <= e.stamp || e.freshAt.Load() == f.resets.Load() {
		return true
	}
	f.tagsMu.RLock()
	defer f.tagsMu.RUnlock()
	if f.floor > e.stamp {
		return false
	}
	for _, tag := range e.tags {
		if f.tags[tag] > e.stamp {
			return false
		}
	}
	e.freshAt.Store(f.resets.Load())
	return true
}
