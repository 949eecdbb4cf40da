//go:build unix

package locks

import (
	"cmp"
	"maps"
	"slices"
	"testing"
	"time"
)

// A tally is what one case came to. Tallies of several rounds can be added.
type tally struct {
	elapsed   time.Duration
	handovers []time.Duration // from when a release is called to when the next holder has the lock
	calls     map[string]int  // of the server's commands, those within scripts as well
	requests  int             // reads of the server from its connections: a pipeline is one
	near      int             // hand-overs within one process
	overlaps  int             // pairs of holdings at the same time

	share   float64 // the holdings of the process that had fewest, relative to the one that had most
	none    int     // waiters that never got the lock
	waiters int
	longest time.Duration // wait
}

// tallyUp looks at what happened from begin to end.
func tallyUp(waits []wait, begin, end time.Duration, processes, waiters int) tally {
	y := tally{elapsed: end - begin, waiters: processes * waiters}
	var holdings []wait
	perProcess := make([]int, processes)
	perWaiter := map[[2]int]int{}
	for _, w := range waits {
		if w.Asked >= end || w.Got != 0 && w.Got < begin {
			continue
		}
		if w.Got == 0 || w.Got > end {
			y.longest = max(y.longest, end-w.Asked)
			continue
		}
		y.longest = max(y.longest, w.Got-w.Asked)
		holdings = append(holdings, w)
		perProcess[w.Process]++
		perWaiter[[2]int{w.Process, w.Waiter}]++
	}
	y.none = y.waiters - len(perWaiter)
	y.share = float64(slices.Min(perProcess)) / float64(max(slices.Max(perProcess), 1))
	slices.SortFunc(holdings, func(a, b wait) int { return cmp.Compare(a.Got, b.Got) })
	for i := range len(holdings) - 1 {
		before, after := holdings[i], holdings[i+1]
		y.handovers = append(y.handovers, after.Got-before.Done)
		if before.Process == after.Process {
			y.near++
		}
		if after.Got < before.Done {
			y.overlaps++
		}
	}
	return y
}

// add adds another round. What is bad in one round stays bad.
func (y tally) add(z tally) tally {
	if y.elapsed == 0 {
		return z
	}
	return tally{
		elapsed: y.elapsed + z.elapsed, handovers: append(y.handovers, z.handovers...),
		calls: sum(y.calls, z.calls), requests: y.requests + z.requests, near: y.near + z.near, overlaps: y.overlaps + z.overlaps,
		share: min(y.share, z.share), none: max(y.none, z.none), waiters: y.waiters, longest: max(y.longest, z.longest),
	}
}

func sum(a, b map[string]int) map[string]int {
	s := maps.Clone(a)
	for name, n := range b {
		s[name] += n
	}
	return s
}

func (y tally) commands() (n int) {
	for _, calls := range y.calls {
		n += calls
	}
	return n
}

// per is a number for each hand-over.
func (y tally) per(n int) float64 { return float64(n) / float64(max(len(y.handovers), 1)) }

func TestTally(t *testing.T) {
	waits := []wait{
		{0, 0, 1, 5, 15},   // before the beginning
		{0, 0, 16, 20, 30}, // 0 to 0
		{0, 1, 1, 33, 40},  // 0 to 1
		{1, 0, 1, 42, 50},  // and an overlap
		{0, 1, 41, 49, 60}, // of this one
		{1, 1, 3, 0, 0},    // never
		{0, 0, 31, 101, 0}, // after the end
	}
	y := tallyUp(waits, 10, 100, 2, 2)
	if want := []time.Duration{3, 2, -1}; !slices.Equal(y.handovers, want) || y.near != 1 || y.overlaps != 1 {
		t.Errorf("hand-overs %v, %d near, %d overlaps", y.handovers, y.near, y.overlaps)
	}
	y.calls = map[string]int{"get": 1, "set": 2}
	if y.share != 1./3 || y.none != 1 || y.waiters != 4 || y.longest != 97 || y.elapsed != 90 {
		t.Errorf("share %v, none %d of %d, longest %d, in %d", y.share, y.none, y.waiters, y.longest, y.elapsed)
	}
	if z := y.add(y); len(z.handovers) != 6 || z.none != 1 || z.elapsed != 180 || z.near != 2 || z.commands() != 6 {
		t.Errorf("twice: %+v", z)
	}
}
