package faulttest

import (
	"fmt"
	"slices"
	"time"
)

// Latencies are how long some calls took.
type latencies struct {
	d      []time.Duration
	sorted bool
}

func (l *latencies) add(d time.Duration) {
	l.d = append(l.d, d)
	l.sorted = false
}

// percentile gives the least latency that p of 100 calls did not exceed, 0 without calls.
func (l *latencies) percentile(p int) time.Duration {
	if len(l.d) == 0 {
		return 0
	}
	if !l.sorted {
		slices.Sort(l.d)
		l.sorted = true
	}
	return l.d[max((len(l.d)*p+99)/100-1, 0)]
}

func (l *latencies) min() time.Duration { return l.percentile(0) }
func (l *latencies) max() time.Duration { return l.percentile(100) }

func (l *latencies) String() string {
	return fmt.Sprintf("p50 %v p99 %v max %v", short(l.percentile(50)), short(l.percentile(99)), short(l.max()))
}

// short leaves out the digits that mean nothing.
func short(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }
