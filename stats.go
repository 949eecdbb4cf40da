package cachify

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Stats counts what a wrapper, or a client with all its wrappers, has done since it was made.
type Stats struct {
	// What is counted: Kind is "cached", "once", "lock" or "sem", and Template the wrapper's. Both are empty for a client. Wrappers of one kind and
	// template on one client are counted together.
	Kind     string
	Template string

	Hits     int64 // values, and remembered errors, found in the store
	NearHits int64 // the same found in a near cache
	Misses   int64 // calls that found none, and so loaded or waited

	Loads      int64         // runs of cached functions
	LoadErrors int64         // of these, runs that returned an error, panicked or ended their goroutine
	LoadTime   time.Duration // what all runs took together

	Stale     int64 // values given out after their time to live, see CachedOptions.MaxStale
	Refreshes int64 // runs in the background for CachedOptions.RefreshAhead and MaxStale

	Waits    int64 // times a call waited for a load by another caller, in this process or another
	Dropped  int64 // loaded values that were not stored, because a Reset, Put or newer load had won
	Bypasses int64 // calls served without the store, because it could not be used

	Resets       int64 // keys and sets of tags that were asked to be reset
	ResetRetries int64 // of these, those that the background had to do; of a client alone
	PendingReset int64 // of these, those that the background has yet to do; of a client alone

	InvalidationsSent     int64 // keys that were reset or put, and sets of tags that were reset: the store tells all near caches of these
	InvalidationsReceived int64 // changes that the store has told the near caches of, one's own included; of a client alone

	Leases     int64 // locks and slots of semaphores that were acquired, those of Once included
	LeaseWaits int64 // acquisitions that had to wait, successful or not
	LeasesLost int64 // leases that were lost: expired, taken away or released by force

	StoreErrors int64 // failed operations on the store
	Outages     int64 // times the circuit breaker has opened; of a client alone
	BreakerOpen bool  // whether it is open now; of a client alone
}

// Stats returns the counts so far of the client and all its wrappers. It may be called at any time and costs next to nothing. The counts
// are read one after the other, so calls under way may be in some and not yet in others.
func (c *Client) Stats() (s Stats) {
	c.stats.addTo(&s)
	for _, w := range c.wrappers.all() {
		w.addTo(&s)
	}
	s.InvalidationsReceived = c.feed.received.Load()
	s.PendingReset = int64(c.retries.pending())
	s.BreakerOpen = c.breaker.open.Load()
	return s
}

// WrapperStats returns the counts so far of each kind and template, in this order.
func (c *Client) WrapperStats() []Stats {
	var all []Stats
	for _, w := range c.wrappers.all() {
		all = append(all, w.stats())
	}
	slices.SortFunc(all, func(a, b Stats) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Template, b.Template))
	})
	return all
}

// Stats returns the counts so far of the wrapper, and of others of its template. It is as cheap as [Client.Stats].
func (c *Cached[K, V]) Stats() Stats { return c.stats.stats() }

// Stats returns the counts so far of the wrapper, and of others of its template. It is as cheap as [Client.Stats].
func (o *Once[K, V]) Stats() Stats { return o.terms.stats.stats() }

// Stats returns the counts so far of the lock, and of others of its template. It is as cheap as [Client.Stats].
func (l *Lock[K]) Stats() Stats { return l.terms.stats.stats() }

// Stats returns the counts so far of the semaphore, and of others of its template. It is as cheap as [Client.Stats].
func (s *Semaphore[K]) Stats() Stats { return s.terms.stats.stats() }

// counters are those of the wrappers of one kind and template, or of a client apart from its wrappers. Each event is counted once.
type counters struct {
	nearHits striped

	kind, template string

	hits, misses                atomic.Int64
	loads, loadErrors, loadTime atomic.Int64
	waits, dropped, bypasses    atomic.Int64
	resets, resetRetries        atomic.Int64
	invalidations               atomic.Int64
	stale, refreshes            atomic.Int64
	leases, leaseWaits          atomic.Int64
	leasesLost                  atomic.Int64
	storeErrors, outages        atomic.Int64
}

func (c *counters) stats() Stats {
	s := Stats{Kind: c.kind, Template: c.template}
	c.addTo(&s)
	return s
}

func (c *counters) addTo(s *Stats) {
	s.Hits += c.hits.Load()
	s.NearHits += c.nearHits.load()
	s.Misses += c.misses.Load()
	s.Loads += c.loads.Load()
	s.LoadErrors += c.loadErrors.Load()
	s.LoadTime += time.Duration(c.loadTime.Load())
	s.Stale += c.stale.Load()
	s.Refreshes += c.refreshes.Load()
	s.Waits += c.waits.Load()
	s.Dropped += c.dropped.Load()
	s.Bypasses += c.bypasses.Load()
	s.Resets += c.resets.Load()
	s.ResetRetries += c.resetRetries.Load()
	s.InvalidationsSent += c.invalidations.Load()
	s.Leases += c.leases.Load()
	s.LeaseWaits += c.leaseWaits.Load()
	s.LeasesLost += c.leasesLost.Load()
	s.StoreErrors += c.storeErrors.Load()
	s.Outages += c.outages.Load()
}

// wrapperCounters are the counters of a client's wrappers. They go by kind and template, so that a program that makes its wrappers anew
// for each request does not collect them without end.
type wrapperCounters struct {
	mu sync.Mutex
	m  map[[2]string]*counters
}

// countersOf gives the counters for wrappers of that kind and template.
func (c *Client) countersOf(kind, template string) *counters {
	c.wrappers.mu.Lock()
	defer c.wrappers.mu.Unlock()
	name := [2]string{kind, template}
	if c.wrappers.m == nil {
		c.wrappers.m = make(map[[2]string]*counters)
	}
	if c.wrappers.m[name] == nil {
		c.wrappers.m[name] = &counters{kind: kind, template: template}
	}
	return c.wrappers.m[name]
}

func (w *wrapperCounters) all() []*counters {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*counters, 0, len(w.m))
	for _, c := range w.m {
		all = append(all, c)
	}
	return all
}

// A striped is a counter that many goroutines count with at the same time.
type striped [16]struct {
	n atomic.Int64
	_ [56]byte // each fills a cache line
}

func (s *striped) add() { s[rand.Uint32()%uint32(len(s))].n.Add(1) }

func (s *striped) load() (n int64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}
