package cachify

import (
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// DefaultNearTTL is how long an entry stays in a near cache if NearOptions does not say.
	DefaultNearTTL = time.Minute

	// DefaultNearSize is how many entries a near cache holds if NearOptions does not say.
	DefaultNearSize = 10_000

	nearOverhead = 200 // bytes that an entry takes beside its key and its encoding, for NearOptions.Bytes
)

// NearOptions are the settings of a near cache (L1), which keeps entries in this process, so that a hit in it needs no I/O.
// Resets and Puts of other processes reach it by push; docs/guarantees.md says how soon, and what happens when the connection for
// that breaks. A zero field means the default.
type NearOptions struct {
	// Size is how many entries it holds at most.
	// Default: [DefaultNearSize], or no bound if Bytes is set.
	Size int

	// Bytes is how much memory the entries take at most, reckoned by their keys and encodings. It goes in place of Size.
	// Default: no bound beside Size.
	Bytes int64

	// TTL is how long an entry stays at most. It never stays longer than in the store.
	// Default: [DefaultNearTTL].
	TTL time.Duration

	// Shared promises that nobody changes a value that Get has given them, nor what it points to. All callers then get the same
	// decoded value. Without it that is done only where V can't be changed: numbers, strings, bools, time.Time, and structs and
	// arrays of those; else the value is decoded anew for each hit.
	Shared bool
}

func (o *NearOptions) check(name string) error {
	if o == nil {
		return nil
	}
	var errs []error
	if o.Size < 0 || o.Bytes < 0 || o.TTL < 0 {
		errs = append(errs, fmt.Errorf("cachify: %s: Size is %d, Bytes is %d and TTL is %v: none may be negative", name, o.Size, o.Bytes, o.TTL))
	}
	if o.Size > 0 && o.Bytes > 0 {
		errs = append(errs, fmt.Errorf("cachify: %s has a Size and Bytes: set one of them", name))
	}
	return errors.Join(errs...)
}

// A near is a near cache. What it holds is as it is in the store, but for changes that nearFeed is yet to hear of.
type near struct {
	feed   *nearFeed
	ttl    time.Duration
	shared bool // NearOptions.Shared
	cache  *otter.Cache[string, *nearEntry]
	slots  [256]nearSlot
}

// A nearSlot counts the changes of some keys. What a reader wants to keep it has read at an earlier time: if there was a
// change since, it may be outdated, and is not kept.
type nearSlot struct {
	mu      sync.Mutex
	changes uint64
	last    entryID // of what the last change wrote; zero if it removed something
}

// A nearEntry is an entry as it was found in the store, a value or a remembered error. Nobody changes it.
type nearEntry struct {
	print  uint64
	id     entryID
	until  time.Duration // when it ends, see nearFeed.now
	stamp  int64         // no tag of it had been reset when the prefix's stamp was this
	tags   []string      // their keys, without the prefix's stamp
	weight uint32

	freshAt atomic.Uint64 // it was fresh after so many resets of tags, see nearFeed.fresh

	created    int64
	softExpiry int64

	value    any    // *V, if callers may share it
	payload  []byte // what the codec wrote, if not; or the text of the error
	negative bool   // it is an error
}

func newNear(feed *nearFeed, opts NearOptions) *near {
	if opts.TTL == 0 {
		opts.TTL = DefaultNearTTL
	}
	if opts.Size == 0 && opts.Bytes == 0 {
		opts.Size = DefaultNearSize
	}
	o := &otter.Options[string, *nearEntry]{
		MaximumSize: opts.Size, MaximumWeight: uint64(opts.Bytes),
		Executor: func(f func()) { f() }, // no goroutines that Close would have to wait for
	}
	if opts.Bytes > 0 {
		o.Weigher = func(_ string, e *nearEntry) uint32 { return e.weight }
	}
	return &near{feed: feed, ttl: opts.TTL, shared: opts.Shared, cache: otter.Must(o)}
}

// get gives the entry of key if it may be given out.
func (n *near) get(key string, print uint64) *nearEntry {
	if !n.feed.live.Load() {
		return nil
	}
	e, ok := n.cache.GetIfPresent(key)
	if !ok || e.print != print || e.until <= n.feed.now() || !n.feed.fresh(e) {
		return nil
	}
	return e
}

// A nearTicket is taken before an entry is read in the store, and says afterwards whether it may be kept.
type nearTicket struct {
	slot    *nearSlot // nil: nothing can be kept
	changes uint64
	taken   time.Duration   // when, see nearFeed.now
	ttl     []time.Duration // one, of how long the store keeps the entry from then on
}

// ticket gives no slot while changes are not told of.
func (n *near) ticket(key string) nearTicket {
	slot := n.slot(key)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if !n.feed.live.Load() {
		return nearTicket{}
	}
	return nearTicket{slot: slot, changes: slot.changes, taken: n.feed.now()}
}

// keep keeps an entry, unless its key has changed since the ticket was taken, other than by the write of that very entry.
func (n *near) keep(t nearTicket, key string, e *nearEntry) {
	if t.slot == nil {
		return
	}
	t.slot.mu.Lock()
	defer t.slot.mu.Unlock()
	if t.slot.changes == t.changes || t.slot.changes == t.changes+1 && t.slot.last == e.id {
		n.cache.Set(key, e)
	} else if old, ok := n.cache.GetEntryQuietly(key); ok && old.Value.id != e.id {
		n.cache.Invalidate(key) // it may be the older one
	}
}

// changed forgets key, unless what was written is what is there. The zero id is that of a removal.
func (n *near) changed(key string, id entryID) {
	slot := n.slot(key)
	slot.mu.Lock()
	defer slot.mu.Unlock()
	slot.changes++
	slot.last = id
	if e, ok := n.cache.GetEntryQuietly(key); ok && e.Value.id != id {
		n.cache.Invalidate(key)
	}
}

// clear forgets everything, and has what is being read now not kept.
func (n *near) clear() {
	for i := range n.slots {
		slot := &n.slots[i]
		slot.mu.Lock()
		slot.changes += 2
		slot.mu.Unlock()
	}
	n.cache.InvalidateAll()
}

var nearSeed = maphash.MakeSeed()

func (n *near) slot(key string) *nearSlot {
	return &n.slots[maphash.String(nearSeed, key)%uint64(len(n.slots))]
}
