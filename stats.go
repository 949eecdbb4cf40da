package cachify

import (
	"sync/atomic"
	"time"
)

// Stats counts what a client has done since it was made.
type Stats struct {
	Hits   int64 // values found in the store
	Misses int64 // calls that found none, and so loaded or waited

	Loads      int64         // runs of cached functions
	LoadErrors int64         // of these, runs that returned an error, panicked or ended their goroutine
	LoadTime   time.Duration // what all runs took together

	Waits    int64 // times a call waited for a load by another caller, in this process or another
	Dropped  int64 // loaded values that were not stored, because a Reset, Put or newer load had won
	Bypasses int64 // calls served without the store, because it could not be used

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
		Hits: s.hits.Load(), Misses: s.misses.Load(),
		Loads: s.loads.Load(), LoadErrors: s.loadErrors.Load(), LoadTime: time.Duration(s.loadTime.Load()),
		Waits: s.waits.Load(), Dropped: s.dropped.Load(), Bypasses: s.bypasses.Load(),
		Resets: s.resets.Load(), ResetRetries: s.resetRetries.Load(), PendingReset: int64(c.retries.pending()),
		Leases: s.leases.Load(), LeaseWaits: s.leaseWaits.Load(), LeasesLost: s.leasesLost.Load(),
		StoreErrors: s.storeErrors.Load(), Outages: s.outages.Load(), BreakerOpen: c.breaker.open.Load(),
	}
}

type counters struct {
	hits, misses                atomic.Int64
	loads, loadErrors, loadTime atomic.Int64
	waits, dropped, bypasses    atomic.Int64
	resets, resetRetries        atomic.Int64
	leases, leaseWaits          atomic.Int64
	leasesLost                  atomic.Int64
	storeErrors, outages        atomic.Int64
}
