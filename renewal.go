package cachify

import (
	"container/heap"
	"slices"
	"sync"
	"time"
)

// renewBatch is how many leases one request renews.
const renewBatch = 256

// never is when leases are renewed that are not renewed.
var never = time.Unix(1<<40, 0)

// renewals keeps the leases of a client. One goroutine renews them, those together that are due at nearly the same time,
// and looks after all of them when it hears that somebody has released a lock by force.
type renewals struct {
	mu      sync.Mutex
	leases  leaseHeap
	running bool
	wake    chan struct{} // a lease is due before next
	next    time.Time     // when the goroutine looks again
	checks  int           // how often somebody has released a lock by force
}

// A renewal is what renewals notes about a lease.
type renewal struct {
	due   time.Time
	place int // in the heap, -1 if it is not there
}

// plan has l renewed at due. The goroutine starts with the first lease, and ends with the client.
func (r *renewals) plan(l *Lease, due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l.renewal.due = due
	if l.renewal.place < 0 {
		heap.Push(&r.leases, l)
	} else {
		heap.Fix(&r.leases, l.renewal.place)
	}
	if !r.running {
		r.wake, r.next = make(chan struct{}, 1), due
		r.running = l.c.spawn(l.c.renewLeases)
	}
	if due.Before(r.next) {
		r.next = due
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// drop has l renewed no more.
func (r *renewals) drop(l *Lease) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l.renewal.place >= 0 {
		heap.Remove(&r.leases, l.renewal.place)
	}
}

// take gives the leases that are due, and those that are due soon after, so that they travel together; and how long it is until
// the next one. What it gives has to be planned anew.
func (r *renewals) take(now time.Time) (due []*Lease, next time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.leases) > 0 {
		first := r.leases[0]
		soon := now
		if len(due) > 0 {
			soon = now.Add(due[0].claim.TTL / 12)
		}
		if first.renewal.due.After(soon) {
			break
		}
		due = append(due, heap.Pop(&r.leases).(*Lease))
	}
	r.next = now.Add(time.Hour)
	if len(r.leases) > 0 && r.leases[0].renewal.due.Before(r.next) {
		r.next = r.leases[0].renewal.due
	}
	return due, r.next.Sub(now)
}

// all gives all leases, which stay planned as they are.
func (r *renewals) all() []*Lease {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.leases)
}

// renewLeases is the goroutine of renewals.
func (c *Client) renewLeases() {
	released, stop := c.store.Watch(c.releaseKey())
	defer stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		due, next := c.renewals.take(time.Now())
		for batch := range slices.Chunk(due, renewBatch) {
			c.spawn(func() { c.renew(batch) })
		}
		timer.Reset(next)
		select {
		case <-c.ctx.Done():
			return
		case <-released:
			c.renewals.noteCheck()
			c.spawn(c.checkLeases)
		case <-c.renewals.wake:
		case <-timer.C:
		}
	}
}

// renew extends leases in one request, and plans the next time.
func (c *Client) renew(leases []*Lease) {
	sent, checks := time.Now(), c.renewals.noted()
	claims := make([]Claim, len(leases))
	for i, l := range leases {
		claims[i] = l.claim
		claims[i].TTL = l.renewalTTL(sent)
	}
	op, cancel := c.opContext(c.ctx)
	done, errs := c.store.Extend(op, claims)
	cancel()
	for i, l := range leases {
		switch {
		case errs != nil && errs[i] != nil:
			l.replan(time.Now().Add(jittered(min(l.claim.TTL/10, time.Second)))) // its expiry goes on counting
		case !done[i]:
			l.lost()
		default:
			l.confirm(sent, claims[i].TTL)
			l.recheck(checks)
		}
	}
	_ = c.report(c.ctx, firstError(errs))
}

// noteCheck has what is being renewed now checked once more.
func (r *renewals) noteCheck() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
}

func (r *renewals) noted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checks
}

func firstError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// replan plans the next renewal of a lease that take gave.
func (l *Lease) replan(due time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.c.renewals.plan(l, due)
	}
}

// nextRenewal is when a lease is to be renewed whose ttl was set by a request sent at the given time.
func (l *Lease) nextRenewal(sent time.Time) time.Time {
	due := sent.Add(l.claim.TTL / 3)
	if !l.terms.renew || l.forever || l.terms.maxHold > 0 && due.Sub(l.taken) > l.terms.maxHold-time.Millisecond {
		return never
	}
	return due
}

// renewalTTL is the ttl that a renewal sets: MaxHold must not end later.
func (l *Lease) renewalTTL(now time.Time) time.Duration {
	ttl := l.claim.TTL
	if l.terms.maxHold > 0 {
		ttl = max(min(ttl, l.terms.maxHold-now.Sub(l.taken)), time.Millisecond)
	}
	return ttl
}

// checkLeases finds out which leases are still held, after somebody has released a lock by force, or may have done so
// unheard. Those that are renewed are renewed for it, many in one request.
func (c *Client) checkLeases() { c.check(c.renewals.all()) }

// recheck looks after a lease whose confirmation may be older than a forced release that came in the meantime.
func (l *Lease) recheck(checks int) {
	if l.c.renewals.noted() != checks {
		l.c.spawn(func() { l.c.check([]*Lease{l}) })
	}
}

func (c *Client) check(leases []*Lease) {
	var renewed []*Lease
	for _, l := range leases {
		if l.terms.renew {
			renewed = append(renewed, l)
		} else if !c.isClosed() {
			_, _ = l.TTL(c.ctx) // ends a lease that is lost
		}
	}
	for batch := range slices.Chunk(renewed, renewBatch) {
		c.renew(batch)
	}
}

// releaseKey is the channel on which forced releases are told to the holders. There is never anything at that key.
func (c *Client) releaseKey() string { return c.opts.Prefix + "released" }

// A leaseHeap has the lease on top that is due first.
type leaseHeap []*Lease

func (h leaseHeap) Len() int           { return len(h) }
func (h leaseHeap) Less(i, j int) bool { return h[i].renewal.due.Before(h[j].renewal.due) }

func (h leaseHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].renewal.place, h[j].renewal.place = i, j
}

func (h *leaseHeap) Push(x any) {
	l := x.(*Lease)
	l.renewal.place = len(*h)
	*h = append(*h, l)
}

func (h *leaseHeap) Pop() any {
	last := len(*h) - 1
	l := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	l.renewal.place = -1
	return l
}
