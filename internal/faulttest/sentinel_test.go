package faulttest

import (
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

// TestSentinel uses everything under Sentinel, has the other node take over in the middle of traffic, and uses everything again.
// A failover loses what the replica has not got yet, so old rows may be seen for a moment; errors may not.
func TestSentinel(t *testing.T) {
	sentinel := redistest.StartSentinel(t)
	everything(t, "before", sentinel.Client(t), sentinel.Client(t))
	timely(t, func(t *testing.T, w *stopwatch) {
		tr := startTraffic(t, w, sentinel.Client(t), sentinel.Client(t))
		tr.lossy, tr.extra = true, handOver // a lease that outlives what was stored in its place looks like that of a dead process
		time.Sleep(200 * time.Millisecond)
		tr.enter(fault)
		noError(t, sentinel.Failover(t.Context()))
		tr.enter(after)
		hits := eventually(t, resumed, "hits on the new master", tr.hit())
		time.Sleep(time.Second) // until the old one is a replica
		tr.finish()
		t.Logf("hits on the new master %v after it had taken over", hits)
	})
	everything(t, "after", sentinel.Client(t), sentinel.Client(t))
}
