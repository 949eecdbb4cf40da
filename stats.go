package cachify

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Stats counts what a client has done since it was made.
type Stats struct {
	Hits     int64 // values found in the store
	NearHits int64 // values found in a near cache
	Misses   int64 // calls that found none, and so loaded or waited

	Loads      int64         // runs of cached functions
	LoadErrors int64         // of these, runs that returned an error, panicked or ended their goroutine
	LoadTime   time.Duration // what all runs took together

	Stale     int64 // values given out after their time to live, see CachedOptions.MaxStale
	Refreshes int64 // runs in the background for CachedOptions.RefreshAhead and MaxStale

	Waits    int64 // times a call waited for a load by another caller, in this process or another
	Dropped  int64 // loaded values that were not stored, because a Reset, Put or newer load had won
	Bypasses int64 // calls served without the store, because it could not be used

	Invalidations int64 // changes that the store has told the near caches of

	Resets       int64 // keys and sets of tags that were asked to be reset
	ResetRetries int64 // of these, those that the background had to do
	PendingReset int64 // of these, those that the background has yet to do

	Leases     int64 // locks and slots of semaphores that were acquired, those of Once included
	LeaseWaits int64 // acquisitions that had to wait, successful or not
	LeasesLost int64 // leases that were lost: expired, taken away or released by force

	StoreErrors int64 // failed operations on the store
	Outages     int64 // times the circuit breaker has opened
	BreakerOpen bool  // whether it is open now
}

// Stats returns the counts so far. It may be called at any time and costs next to nothing. The counts are
// read one after the other, so calls under way may be in some and not yet in others.
func (c *Client) Stats() Stats {
	s := &c.stats
	return Stats{
		Hits: s.hits.Load(), NearHits: s.nearHits.load(), Invalidations: c.feed.received.Load(), Misses: s.misses.Load(),
		Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(), LoadTime: time.Duration(s.loadTime.Load()),
		Stale: s.stale.Load(), Refreshes: s.refreshes.Load(),
		Waits: s.waits.Load(), Dropped: s.dropped.Load(), Bypasses: s.bypasses.Load(),
		Resets: s.resets.Load(), ResetRetries: s.resetRetries.Load(), PendingReset: int64(c.retries.pending()),
		Leases: s.leases.Load(), LeaseWaits: s.leaseWaits.Load(), LeasesLost: s.leasesLost.Load(),
		StoreErrors: s.storeErrors.Load(), Outages: s.outages.Load(), BreakerOpen: c.breaker.open.Load(),
	}
}

type counters struct {
	nearHits                    striped
	hits, misses                atomic.Int64
	loads, loadErrors, loadTime atomic.Int64
	waits, dropped, bypasses    atomic.Int64
	resets, resetRetries        atomic.Int64
	stale, refreshes            atomic.Int64
	leases, leaseWaits          atomic.Int64
	leasesLost                  atomic.Int64
	storeErrors, outages        atomic.Int64
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
