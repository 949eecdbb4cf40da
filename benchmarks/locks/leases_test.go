//go:build unix

package locks

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestLeases has one client renew many leases, and says what that takes. None may be lost.
func TestLeases(t *testing.T) {
	tests := []struct {
		n      int
		ttl    time.Duration
		length time.Duration
	}{{10_000, 3 * time.Second, 20 * time.Second}, {1000, 300 * time.Millisecond, 20 * time.Second}}
	if !full {
		tests = tests[:1]
		tests[0].n, tests[0].ttl, tests[0].length = 500, 1500*time.Millisecond, time.Second
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %v", tt.n, tt.ttl), func(t *testing.T) { renew(t, tt.n, tt.ttl, tt.length) })
	}
}

func renew(t *testing.T, n int, ttl, length time.Duration) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	c := cachify.New(cachify.Redis(rdb), nil)
	defer c.Close()
	lock := cachify.Must(cachify.NewLock[int](c, "<number>", &cachify.LockOptions{TTL: ttl}))
	lease, err := lock.Acquire(t.Context(), n) // the goroutines that all leases share begin with the first
	noError(t, err)
	defer lease.Release(t.Context())
	time.Sleep(settle)
	alone := runtime.NumGoroutine()

	leases := acquireAll(t, lock, n)
	time.Sleep(ttl / 2) // until they are renewed as they will be
	server.ResetCalls()
	begin, used, serverUsed := now(), cpu(t), serverCPU(t, rdb)
	most := 0
	for now() < begin+length {
		most = max(most, runtime.NumGoroutine())
		time.Sleep(10 * time.Millisecond)
	}
	seconds := (now() - begin).Seconds()
	used, serverUsed = cpu(t)-used, serverCPU(t, rdb)-serverUsed
	calls, reads := server.Calls(), requests(t, server)
	commands := 0
	for _, n := range calls {
		commands += n
	}
	lost := 0
	for _, l := range leases {
		if !l.Valid() || l.Context().Err() != nil {
			lost++
		}
	}
	fmt.Fprintf(t.Output(), "%d leases, TTL %v, %.0f s: %.0f renewals/s, %.0f commands/s, %.1f requests/s, CPU client %.1f %%, server %.1f %% of a core, "+
		"goroutines %d with one lease, at most %d with all, %d lost\n", n, ttl, seconds, float64(calls["evalsha"])/seconds,
		float64(commands)/seconds, float64(reads)/seconds, 100*used.Seconds()/seconds, 100*serverUsed/seconds, alone, most, lost)
	if lost > 0 {
		t.Errorf("%d of %d leases lost", lost, n)
	}
	if want := int(float64(n) * seconds / ttl.Seconds()); calls["evalsha"] < want {
		t.Errorf("%d renewals, want at least %d: are they renewed at all?", calls["evalsha"], want)
	}
	releaseAll(leases)
}

// acquireAll spreads the acquisitions over some goroutines.
func acquireAll(t *testing.T, lock *cachify.Lock[int], n int) []*cachify.Lease {
	t.Helper()
	leases, errs := make([]*cachify.Lease, n), make([]error, n)
	inParallel(n, func(i int) { leases[i], errs[i] = lock.TryAcquire(t.Context(), i) })
	for _, err := range errs {
		noError(t, err)
	}
	return leases
}

func releaseAll(leases []*cachify.Lease) {
	inParallel(len(leases), func(i int) { _ = leases[i].Release(leases[i].Context()) })
}

func inParallel(n int, f func(i int)) {
	const goroutines = 16
	var all sync.WaitGroup
	for g := range goroutines {
		all.Go(func() {
			for i := g; i < n; i += goroutines {
				f(i)
			}
		})
	}
	all.Wait()
}

// cpu gives what this process has used.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	noError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverCPU gives what the server has used, in seconds.
func serverCPU(t *testing.T, rdb *redis.Client) (seconds float64) {
	t.Helper()
	info, err := rdb.Info(t.Context(), "cpu").Result()
	noError(t, err)
	for _, name := range []string{"used_cpu_user:", "used_cpu_sys:"} {
		var some float64
		_, text, _ := strings.Cut(info, name)
		_, err := fmt.Sscan(text, &some)
		noError(t, err)
		seconds += some
	}
	return seconds
}
