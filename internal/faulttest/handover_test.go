package faulttest

import (
	"context"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	handOver     = 2 * time.Second // from a process' death until another one loads
	handOverLoad = 100 * time.Millisecond
	waiters      = 50
	handOverKey  = 7
)

// TestHandOver kills a process in the middle of a load that has been going on for longer than a lease lives without
// renewal. Callers in another process wait for it as long as it lives, and no longer than promised after that.
func TestHandOver(t *testing.T) {
	addr := redistest.Start(t).Addr()
	loader := startProcess(t, "loader", addr)
	waiter := startProcess(t, "waiter", addr)
	var loading bool
	loader.send(true)
	loader.receive(&loading)
	began := time.Now()
	waiter.send(true)
	var waiting bool
	waiter.receive(&waiting)

	time.Sleep(time.Until(began.Add(2 * time.Second))) // a lease lives for 1.5 seconds
	killed := time.Now()
	loader.kill()
	var o outcome
	waiter.receive(&o)

	var lags latencies
	for _, done := range o.Done {
		lags.add(done.Sub(killed))
	}
	t.Logf("%d callers waited for a load of %v in a process that was then killed; done after its death: %v; loads of their own: %d",
		waiters, killed.Sub(began).Round(time.Millisecond), &lags, len(o.LoadEnds))
	if o.Wrong != 0 || len(o.LoadEnds) != 1 {
		t.Errorf("%d loads, %d wrong answers; want one load and no wrong answer", len(o.LoadEnds), o.Wrong)
	}
	if lags.min() < handOverLoad {
		t.Errorf("a caller was done %v after the death of the loading process: it did not wait for it", lags.min())
	}
	if lags.max() > handOver+handOverLoad {
		t.Errorf("a caller was done %v after the death of the loading process, want at most %v", lags.max(), handOver+handOverLoad)
	}
}

// loaderChild takes the load and never ends it.
func loaderChild(addr string) {
	p := newParent()
	cached := cachify.Must(cachify.NewCached(childClient(addr), "hand-over-<key>",
		func(ctx context.Context, _ int64) (int64, error) {
			p.send(true)
			<-ctx.Done()
			return 0, ctx.Err()
		}, nil))
	p.send(true)
	var start bool
	if p.receive(&start) {
		go func() { _, _ = cached.Get(context.Background(), handOverKey) }()
	}
	p.receive(&start) // until killed
}

// waiterChild waits for that load.
func waiterChild(addr string) {
	p := newParent()
	c := childClient(addr)
	ends := make(chan time.Time, waiters)
	cached := cachify.Must(cachify.NewCached(c, "hand-over-<key>", func(_ context.Context, key int64) (int64, error) {
		time.Sleep(handOverLoad)
		ends <- time.Now()
		return key, nil
	}, nil))
	p.send(true)
	var start bool
	if !p.receive(&start) {
		return
	}
	go func() {
		for c.Stats().Waits < waiters {
			time.Sleep(time.Millisecond)
		}
		p.send(true)
	}()
	o := outcome{Done: make([]time.Time, waiters)}
	wrong := make([]bool, waiters)
	together(waiters, func(i int) {
		v, err := cached.Get(context.Background(), handOverKey)
		o.Done[i] = time.Now()
		wrong[i] = err != nil || v != handOverKey
	})
	close(ends)
	for end := range ends {
		o.LoadEnds = append(o.LoadEnds, end)
	}
	for _, w := range wrong {
		if w {
			o.Wrong++
		}
	}
	p.send(o)
	p.receive(&start)
}
