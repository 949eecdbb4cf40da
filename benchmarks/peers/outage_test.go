//go:build unix

package peers

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	alone         = "the function alone"
	outageCallers = 4
)

// outages end or halt Redis under each library in turn, and ask it for keys that are not in any cache. The function takes about a
// millisecond.
func (b *bench) outages(t *testing.T) {
	for _, kase := range []struct {
		name string
		end  func(*redistest.Server)
	}{{"killed", (*redistest.Server).Kill}, {"stalled", (*redistest.Server).Stop}} {
		b.outageCalls(t, kase.name, alone, &cache[small]{get: slowLoad})
		for _, p := range peers[small]() {
			if p.memory || p.hits {
				continue
			}
			t.Run(kase.name+" under "+p.name, func(t *testing.T) { // whose end is the end of the server
				server := redistest.Start(t)
				c := p.open(t, server.Addr(), p.usual, slowLoad)
				for i := range int64(20) {
					_, err := c.get(t.Context(), user(i))
					noError(t, err)
				}
				kase.end(server)
				b.outageCalls(t, kase.name, p.name, c)
				server.Kill() // what still waits for it goes on
			})
		}
	}
}

func slowLoad(_ context.Context, a args) (small, error) {
	time.Sleep(time.Millisecond)
	return newSmall(a.UserID), nil
}

type outageCall struct {
	took   time.Duration
	failed bool
}

// outageCalls counts a call that has not returned at the end of the patience by how long it has taken until then.
func (b *bench) outageCalls(t *testing.T, kase, library string, c *cache[small]) {
	var calls []outageCall
	done := make(chan outageCall, outageCallers*b.calls)
	left := make(chan struct{}, outageCallers)
	var next atomic.Int64
	var since [outageCallers]atomic.Int64 // when a caller's call began, as a time after start; -1: it makes none
	start, ctx := time.Now(), t.Context()
	for i := range outageCallers {
		go func() {
			defer func() { left <- struct{}{} }()
			for range b.calls {
				began := time.Since(start)
				if began > b.outage {
					break
				}
				since[i].Store(int64(began))
				_, err := c.get(ctx, user(1000+next.Add(1)))
				done <- outageCall{time.Since(start) - began, err != nil}
			}
			since[i].Store(-1)
		}()
	}
	end := time.After(b.outage + b.patience)
wait:
	for range outageCallers {
		select {
		case <-left:
		case <-end:
			break wait
		}
	}
	now := time.Since(start)
	for n := len(done); n > 0; n-- {
		calls = append(calls, <-done)
	}
	waiting := 0
	for i := range since {
		if began := time.Duration(since[i].Load()); began >= 0 {
			calls, waiting = append(calls, outageCall{now - began, false}), waiting+1
		}
	}
	took, failed := make([]time.Duration, len(calls)), 0
	for i, call := range calls {
		took[i] = call.took
		if call.failed {
			failed++
		}
	}
	b.run.Add("outage", kase, "calls", library, float64(len(calls)))
	b.run.Add("outage", kase, "errors", library, float64(failed))
	b.run.Add("outage", kase, "without answer", library, float64(waiting))
	b.run.Add("outage", kase, "p50 ms", library, millis(percentile(took, 0.50)))
	b.run.Add("outage", kase, "p99 ms", library, millis(percentile(took, 0.99)))
}
