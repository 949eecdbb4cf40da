package faulttest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const attempts = 3

// calm is the longest delay that a machine on which time is measured may add. The tests alone cause a tenth of it to a half.
const calm = 30 * time.Millisecond

// timely runs test until it has kept its time limits, a few times at most: other work on the machine can make calls slower
// but never quicker. If the machine was too busy each time, it says so and leaves it at that. Whatever else is wrong counts at once.
func timely(t *testing.T, test func(t *testing.T, w *stopwatch)) {
	t.Helper()
	judged := false
	for i := range attempts {
		w := newStopwatch(t)
		test(t, w)
		if len(w.late) == 0 || t.Failed() {
			return
		}
		worst := time.Duration(w.worst.Load())
		judged = judged || worst <= calm
		t.Logf("attempt %d was late, with delays by the machine of up to %v: %q", i+1, short(worst), w.late)
	}
	if !judged {
		t.Logf("too much else runs on this machine to tell whether calls are in time")
		return
	}
	t.Errorf("late in all of %d attempts", attempts)
}

// A stopwatch holds calls to limits. It may time several at once.
type stopwatch struct {
	worst atomic.Int64 // the longest delay that the machine was seen to make
	stall atomic.Int64 // the longest since takeStall
	mu    sync.Mutex
	late  []string
}

// newStopwatch also notes how late goroutines are woken up: no call can be quicker than that.
func newStopwatch(t testing.TB) *stopwatch {
	w := new(stopwatch)
	var running sync.WaitGroup
	running.Go(func() {
		for t.Context().Err() == nil {
			began := time.Now()
			time.Sleep(time.Millisecond)
			late := int64(time.Since(began) - time.Millisecond)
			raise(&w.worst, late)
			raise(&w.stall, late)
		}
	})
	t.Cleanup(running.Wait)
	return w
}

// takeStall gives the longest delay since the last takeStall.
func (w *stopwatch) takeStall() time.Duration { return time.Duration(w.stall.Swap(0)) }

// allowance is how much longer calls may take than they should: 50 ms for what they do beside waiting, and the longest delay that
// the machine was seen to make, twice, since a call is woken up more than once.
func allowance(stall time.Duration) time.Duration { return 50*time.Millisecond + 2*stall }

// check notes what took longer than limit and the machine's allowance.
func (w *stopwatch) check(what string, took, limit, stall time.Duration) {
	limit += allowance(stall)
	w.want(took <= limit, fmt.Sprintf("%s took %v, want at most %v", what, short(took), short(limit)))
}

// want notes complaint unless ok.
func (w *stopwatch) want(ok bool, complaint string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !ok {
		w.late = append(w.late, complaint)
	}
}

// time runs f, says how long it took, and holds that to limit.
func (w *stopwatch) time(what string, limit time.Duration, f func()) time.Duration {
	began := time.Now()
	f()
	took := time.Since(began)
	w.check(what, took, limit, time.Duration(w.stall.Load()))
	return short(took)
}

// raise makes max at least v.
func raise(max *atomic.Int64, v int64) {
	for old := max.Load(); old < v && !max.CompareAndSwap(old, v); old = max.Load() {
	}
}
