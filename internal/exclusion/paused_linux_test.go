package exclusion_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/exclusion"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestPaused stops holders for longer than the TTL, and finds out for how long two of them then both ran. By Valid, two
// may never hold a lock, pauses or not.
func TestPaused(t *testing.T) {
	const limit = 250 * time.Millisecond // a machine that is busy takes its time to let a process go on
	server := redistest.Start(t)
	one := task{Mode: "paused", Addr: server.Addr(), Keys: 4, Goroutines: 2, Processors: 1, Timeouts: usual} // a timer has to wait for who computes
	several := one
	several.Processors = 0
	f := startFleet(t, 2, one, several)
	f.pauseSeveral(pauses)
	f.end()
	h := f.history("paused")
	t.Logf("%d pauses of a holder: %v", pauses, h)
	for _, c := range exclusion.Crowds(h.valid, 1) {
		t.Errorf("two leases were valid: %v", c)
	}
	for kind, look := range []string{"Valid before each step", "the context before each step"} {
		both := f.bothRan(kind, false)
		beside := f.bothRan(kind, true)
		median, longest := lengths(both)
		t.Logf("%s: %d times somebody else got the lock of a holder; %d times both ran, for %v in the median and at most %v",
			look, len(beside), len(both), median, longest)
		if longest > limit {
			t.Errorf("both ran for %v", longest)
		}
		if len(beside) == 0 && long() {
			t.Error("nobody lost a lock: the test can't fail")
		}
	}
}

// pauseSeveral makes n pauses, up to two at a time.
func (f *fleet) pauseSeveral(n int) {
	f.t.Helper()
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range 2 {
		wg.Go(func() {
			for range (n + i) / 2 {
				time.Sleep(rand.N(50 * time.Millisecond))
				if err := f.pause(func(*process) error { time.Sleep(ttl + rand.N(ttl)); return nil }); err != nil {
					f.t.Error(err)
				}
			}
		})
	}
}

// bothRan gives the times for which two holders of a key of the kind (0: even, 1: odd) held it, with or without the pauses.
func (f *fleet) bothRan(kind int, paused bool) []exclusion.Crowd {
	var all []exclusion.Span
	for _, p := range f.all {
		var spans []exclusion.Span
		for _, a := range p.log.Attempts(p.name) {
			if a.Got != 0 && a.Keys[0]%2 == kind {
				spans = append(spans, a.Spans(a.Got, a.Alive)...)
			}
		}
		if !paused {
			spans = exclusion.Without(spans, p.pauses)
		}
		all = append(all, spans...)
	}
	return exclusion.Crowds(all, 1)
}

// lengths gives the median and the longest duration.
func lengths(crowds []exclusion.Crowd) (median, longest time.Duration) {
	if len(crowds) == 0 {
		return 0, 0
	}
	all := make([]time.Duration, len(crowds))
	for i, c := range crowds {
		all[i] = c.Duration().Round(10 * time.Microsecond)
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1]
}
