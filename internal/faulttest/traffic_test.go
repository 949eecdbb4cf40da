package faulttest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

const (
	rows    = 50
	callers = 32                     // of all clients together
	pace    = 2 * time.Millisecond   // of a caller, so that the machine is not what is measured
	rowTTL  = 300 * time.Millisecond // so that there are hits, loads and waits at any time
	resets  = 10 * time.Millisecond  // a client's time between two of them

	// noticing is how long a caller that waits for the load of another process may take to see that it is not told of its end: it
	// asks by itself after 20 ms at the latest, then after 40.
	noticing = 60 * time.Millisecond

	// freeing is how long a lease may outlive its load where only that load's connection was lost: the background frees it in
	// one or two attempts, and who waits for it asks every 250 ms if the notification was lost as well.
	freeing = 500 * time.Millisecond
)

// A row is what is cached. Its version only grows.
type row struct {
	ID, Version int64
	Name        string
}

// Traffic is callers of Get, and now and then Reset, on clients that know nothing of each other as if they were
// in different processes. It checks each answer: the row that was asked for, and no version older than what the Resets
// that had returned when the call began allow. While a client's breaker is open, Resets of other clients bind it to nothing.
type traffic struct {
	t        testing.TB
	lossy    bool          // the server may lose what it has acknowledged, Resets too
	extra    time.Duration // how much longer a Get may take for what the fault leaves behind
	versions [rows]atomic.Int64
	clients  []*trafficClient
	watch    *stopwatch
	phase    atomic.Pointer[phase]
	phases   []*phase
	stop     context.CancelFunc
	running  sync.WaitGroup
}

type trafficClient struct {
	*cachify.Client
	traffic *traffic
	cached  *cachify.Cached[int64, row]
	own     floors // by Resets of this client, failed or not
	others  floors // by Resets of the others that succeeded
}

// Floors are the versions that a Get which begins now must give at least.
type floors [rows]atomic.Int64

// A phase is a part of the time of a test.
type phase struct {
	name string

	mu        sync.Mutex
	gets      latencies
	resets    latencies
	resetErrs int
	errs      []error // of Get, and of what it gave
	stall     time.Duration
}

// startTraffic starts callers on a client for each of rdbs.
func startTraffic(t testing.TB, w *stopwatch, rdbs ...redis.UniversalClient) *traffic {
	tr := &traffic{t: t, watch: w}
	for _, rdb := range rdbs {
		c := &trafficClient{Client: newClient(t, rdb), traffic: tr}
		c.cached = cachify.Must(cachify.NewCached(c.Client, "row-<id>", tr.load, &cachify.CachedOptions{TTL: rowTTL, Jitter: 0.5}))
		tr.clients = append(tr.clients, c)
	}
	tr.enter(before)
	ctx, cancel := context.WithCancel(t.Context())
	tr.stop = func() { cancel(); tr.running.Wait() }
	t.Cleanup(tr.stop)
	for _, c := range tr.clients {
		for range callers / len(tr.clients) {
			tr.running.Go(func() { every(ctx, pace, c.get) })
		}
		tr.running.Go(func() { every(ctx, resets, c.reset) })
	}
	eventually(t, resumed, "the first hits", tr.hit())
	return tr
}

// every calls f again and again, with pauses of d on average.
func every(ctx context.Context, d time.Duration, f func()) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d/2 + rand.N(d)):
			f()
		}
	}
}

// load is the function: it reads the row and then takes its time, so that what it returns may be old by then.
func (tr *traffic) load(_ context.Context, id int64) (row, error) {
	version := tr.versions[id].Load()
	time.Sleep(loaderTime)
	return row{id, version, fmt.Sprint("row ", id)}, nil
}

// enter begins a phase. What began earlier counts for the earlier one.
func (tr *traffic) enter(name string) {
	if p := tr.phase.Load(); p != nil {
		p.stall = tr.watch.takeStall()
	}
	p := &phase{name: name}
	tr.phases = append(tr.phases, p)
	tr.phase.Store(p)
}

// hit gives a condition: that every client has had a hit since.
func (tr *traffic) hit() func() bool {
	var had []int64
	for _, c := range tr.clients {
		had = append(had, c.Stats().Hits)
	}
	return func() bool {
		for i, c := range tr.clients {
			if c.Stats().Hits == had[i] {
				return false
			}
		}
		return true
	}
}

// hits gives the hits of all clients so far.
func (tr *traffic) hits() (n int64) {
	for _, c := range tr.clients {
		n += c.Stats().Hits
	}
	return n
}

// open says whether the circuit breakers of all clients are.
func (tr *traffic) open() bool {
	for _, c := range tr.clients {
		if !c.Stats().BreakerOpen {
			return false
		}
	}
	return true
}

func (c *trafficClient) get() {
	id := rand.Int64N(rows)
	p, own, others := c.traffic.phase.Load(), c.own[id].Load(), c.others[id].Load()
	stats := c.Stats()
	began := time.Now()
	v, err := c.cached.Get(context.Background(), id)
	took := time.Since(began)
	withStore := !stats.BreakerOpen && stats.Outages == c.Stats().Outages
	switch {
	case err != nil:
		err = fmt.Errorf("get %d: %w", id, err)
	case v.ID != id || v.Name != fmt.Sprint("row ", id):
		err = fmt.Errorf("get %d gave %+v", id, v)
	case v.Version < own && !c.traffic.lossy:
		err = fmt.Errorf("get %d gave version %d after a Reset of the same client at %d", id, v.Version, own)
	case v.Version < others && withStore && !c.traffic.lossy:
		err = fmt.Errorf("get %d gave version %d after a Reset of another client at %d", id, v.Version, others)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gets.add(took)
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// reset writes a row and then resets its entry. A Reset that failed holds for the client's own callers all the same.
func (c *trafficClient) reset() {
	id := rand.Int64N(rows)
	p, version := c.traffic.phase.Load(), c.traffic.versions[id].Add(1)
	began := time.Now()
	err := c.cached.Reset(context.Background(), id)
	took := time.Since(began)
	for _, other := range c.traffic.clients {
		switch {
		case other == c:
			raise(&c.own[id], version)
		case err == nil:
			raise(&other.others[id], version)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resets.add(took)
	if err != nil {
		p.resetErrs++
	}
}

// finish ends the traffic, prints its figures and checks them: no caller has seen an error or an old row, and each call
// took at most the function's time (and what it takes to notice that another's is over) and the operation timeout. Where the
// breaker is open, the timeout is not to be paid.
func (tr *traffic) finish() {
	tr.t.Helper()
	tr.stop()
	tr.phase.Load().stall = tr.watch.takeStall()
	for _, p := range tr.phases {
		tr.t.Logf("%s: %d gets, %d errors, %v; %d resets, %d failed, %v; machine %v",
			p.name, len(p.gets.d), len(p.errs), &p.gets, len(p.resets.d), p.resetErrs, &p.resets, short(p.stall))
		for _, err := range p.errs[:min(len(p.errs), 3)] {
			tr.t.Errorf("%s: %v", p.name, err)
		}
		limit := loaderTime + noticing + opTimeout
		if p.name == breakerOpen {
			limit = loaderTime
		}
		limit += tr.extra
		tr.watch.check(p.name+": a Get", p.gets.max(), limit, p.stall)
		tr.watch.check(p.name+": a Reset", p.resets.max(), opTimeout, p.stall)
	}
}
