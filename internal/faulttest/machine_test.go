package faulttest

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A machine notes how late goroutines are woken up: no call can be quicker than that.
type machine struct{ stall atomic.Int64 }

func watchMachine(t testing.TB) *machine {
	m := new(machine)
	var running sync.WaitGroup
	running.Go(func() {
		for t.Context().Err() == nil {
			began := time.Now()
			time.Sleep(time.Millisecond)
			raise(&m.stall, int64(time.Since(began)-time.Millisecond))
		}
	})
	t.Cleanup(running.Wait)
	return m
}

// takeStall gives the longest delay since the last takeStall.
func (m *machine) takeStall() time.Duration { return time.Duration(m.stall.Swap(0)) }

// allowance is how much longer calls may take than they should: 50 ms for what they do beside waiting, and the longest delay that
// the machine was seen to make, twice, since a call is woken up more than once.
func allowance(stall time.Duration) time.Duration { return 50*time.Millisecond + 2*stall }

// A stopwatch times calls and holds them to a limit. It may time several at once.
type stopwatch struct {
	t       testing.TB
	machine *machine
}

func newStopwatch(t testing.TB) stopwatch { return stopwatch{t, watchMachine(t)} }

// time runs f and says how long it took. More than limit and the machine's allowance is an error.
func (w stopwatch) time(what string, limit time.Duration, f func()) time.Duration {
	w.t.Helper()
	began := time.Now()
	f()
	took := time.Since(began)
	if limit += allowance(time.Duration(w.machine.stall.Load())); took > limit {
		w.t.Errorf("%s took %v, want at most %v", what, took, limit)
	}
	return short(took)
}
