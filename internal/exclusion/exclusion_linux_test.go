package exclusion_test

import (
	"context"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/exclusion"
	"github.com/go-cachify/cachify/internal/redistest"
)

// patience is for how long a waiter may miss that a lock is free.
const patience = 1500 * time.Millisecond

func TestLock(t *testing.T) {
	h := violent(t, task{Mode: "lock", Keys: 8, Goroutines: 5}, 1)
	h.checkFences(t, false)
}

func TestSemaphore(t *testing.T) {
	violent(t, task{Mode: "semaphore", Keys: 3, Goroutines: 6}, size)
}

// violent checks the history of a fleet to which violence is done.
func violent(t *testing.T, task task, limit int) *history {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	task.Timeouts = []time.Duration{ttl / 6, cachify.DefaultOpTimeout, 2 * ttl} // the last does not give up before the TTL is over
	near, far := task, task
	near.Addr, far.Addr = server.Addr(), proxy.Addr()
	f := startFleet(t, 2, near, far)
	began := time.Now()
	done := f.trouble(func() bool { return f.holdings() >= holdings }, 400*time.Millisecond, f.violence(server, proxy)...)
	t.Logf("%s: 4 processes of %d goroutines, %d keys, %v: %s", task.Mode, task.Goroutines, task.Keys, time.Since(began).Round(time.Second), done)
	f.end()
	h := f.history(task.Mode)
	h.check(t, limit)
	h.checkWaits(t, limit, patience+time.Second) // for as long as the server may be stopped
	leftOver(t, server)
	return h
}

// The controls show that the check can fail: one does without a lock, the other's is not renewed and nobody looks at it.
func TestControls(t *testing.T) {
	for _, mode := range []string{"unlocked", "blind"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			f := startFleet(t, 3, task{Mode: mode, Addr: server.Addr(), Keys: 3, Goroutines: 3, Timeouts: usual})
			began := time.Now()
			f.trouble(func() bool { return time.Since(began) > time.Second }, 100*time.Millisecond, act{"", 1, func() {}})
			f.end()
			h := f.history(mode)
			overlaps := h.overlaps(1)
			t.Logf("%v; %d overlaps, as there must be", h, len(overlaps))
			if len(overlaps) == 0 {
				t.Error("no overlap seen: the test can't fail")
			}
		})
	}
}

func TestMemory(t *testing.T) {
	for mode, limit := range map[string]int{"lock": 1, "semaphore": size} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			log, err := exclusion.OpenLog(t.TempDir() + "/log")
			noError(t, err)
			defer log.Close()
			p := &holder{task: task{Mode: mode, Keys: 4, Goroutines: 20, Timeouts: usual}, log: log}
			store := cachify.Memory()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			p.run(ctx, func() cachify.Store { return store })
			h := &history{mode: mode}
			h.add(log.Attempts("memory"), log.Stalls(), nil)
			h.check(t, limit)
			h.checkWaits(t, limit, patience)
			if mode == "lock" {
				h.checkFences(t, false)
			}
		})
	}
}
