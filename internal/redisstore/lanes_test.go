package redisstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// Crowded gives a store for which there is a crowd whatever happens.
func Crowded(rdb redis.UniversalClient) *Store {
	s := New(rdb)
	s.lanes.inFlight.Store(crowd)
	s.lanes.known.Store(true)
	return s
}

var laneTags = []string{"{t}", "{t}a"}

// fill sets keys to values of their own name.
func fill(t *testing.T, s *Store, keys ...string) (stamps []int64) {
	t.Helper()
	for _, key := range keys {
		var err error
		_, stamps, err = s.Set(within(t, 30*time.Second), nil, []string{key}, [][]byte{[]byte(key)}, []time.Duration{time.Minute}, laneTags)
		noError(t, err)
	}
	return stamps
}

func numbered(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprint("k", i)
	}
	return keys
}

// readOwnName reads a key that has its own name for a value.
func readOwnName(ctx context.Context, s *Store, key string, stamps []int64) error {
	left := make([]time.Duration, 1)
	values, got, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{key}, laneTags, left)
	switch {
	case err != nil:
		return err
	case string(values[0]) != key || fmt.Sprint(got) != fmt.Sprint(stamps):
		return fmt.Errorf("%s: value %q, stamps %v, want %v", key, values[0], got, stamps)
	case left[0] <= 0 || left[0] > time.Minute:
		return fmt.Errorf("%s has %v left of a minute", key, left[0])
	}
	return nil
}

// TestReadsTravelTogether has many callers ask a server that holds still, and then counts what it was asked.
func TestReadsTravelTogether(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	rdb := redistest.NewClient(t, proxy.Addr())
	spy := new(spy)
	rdb.AddHook(spy)
	s := New(rdb)
	const callers = 300
	keys := numbered(callers)
	stamps := fill(t, s, keys...)
	for _, test := range []struct {
		name            string
		store           *Store
		atLeast, atMost int64
	}{
		{"by default", s, 2, crowd + maxSenders + callers/maxBatch + 1},
		{"where that is off", s.Plain(), callers, callers},
	} {
		spy.trips.Store(0)
		proxy.Stall(true)
		var group sync.WaitGroup
		for _, key := range keys {
			group.Go(func() {
				if err := readOwnName(within(t, 30*time.Second), test.store, key, stamps); err != nil {
					t.Errorf("%s: %v", test.name, err)
				}
			})
		}
		if test.store.lanes != nil {
			waitFor(t, "all have asked", func() bool { return s.lanes.inFlight.Load() == callers && waiting(s) >= callers-crowd })
		}
		proxy.Stall(false)
		group.Wait()
		if n := spy.trips.Load(); n > test.atMost || n < test.atLeast {
			t.Errorf("%s: %d round trips for %d callers, want %d to %d", test.name, n, callers, test.atLeast, test.atMost)
		}
	}
	noError(t, s.Close())
}

// waiting counts those who wait for a batch that is not yet sent, or is one of the first ones.
func waiting(s *Store) (n int) {
	l := s.lanes.sole
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.queue {
		n += b.waiting
	}
	return n + l.senders*maxBatch
}

// TestLoneCallerTravelsAlone, also after a crowd has gone.
func TestLoneCallerTravelsAlone(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	s := New(rdb)
	stamps := fill(t, s, "k")
	hit := func() { noError(t, readOwnName(within(t, 30*time.Second), s, "k", stamps)) }
	hit()
	if s.lanes.crowded.Load() {
		t.Error("one caller is a crowd")
	}
	for range crowd + 1 {
		s.lanes.enter()
	}
	if hit(); !s.lanes.crowded.Load() {
		t.Errorf("%d callers are no crowd", crowd+1)
	}
	for range crowd + 1 {
		s.lanes.exit()
	}
	for range calmAfter {
		hit()
	}
	if s.lanes.crowded.Load() {
		t.Errorf("still a crowd after %d batches of one", calmAfter)
	}
}

// TestCtxInAHungBatch: who is cancelled is back at once, whose deadline passes is back then, and the others get their values.
func TestCtxInAHungBatch(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.StartProxy(t, server.Addr())
	s := Crowded(redistest.NewClient(t, proxy.Addr()))
	keys := numbered(20)
	stamps := fill(t, s, keys...)
	proxy.Stall(true)
	var patient sync.WaitGroup
	for _, key := range keys[2:] {
		patient.Go(func() {
			if err := readOwnName(within(t, 30*time.Second), s, key, stamps); err != nil {
				t.Error(err)
			}
		})
	}
	cancelled, cancel := context.WithCancel(within(t, 30*time.Second))
	impatient := map[string]chan error{"cancelled": make(chan error, 1), "deadline": make(chan error, 1)}
	go func() { impatient["cancelled"] <- readOwnName(cancelled, s, keys[0], stamps) }()
	go func() { impatient["deadline"] <- readOwnName(within(t, 20*time.Millisecond), s, keys[1], stamps) }()
	waitFor(t, "all have asked", func() bool { return s.lanes.inFlight.Load() >= crowd+19 })
	cancel()
	for name, want := range map[string]error{"cancelled": context.Canceled, "deadline": context.DeadlineExceeded} {
		select {
		case err := <-impatient[name]:
			if !errors.Is(err, want) || !strings.HasPrefix(err.Error(), "cachify: redis: get: ") {
				t.Errorf("%s: error %v, want one of ours that wraps %v", name, err, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: not back while the server hangs", name)
		}
	}
	proxy.Stall(false)
	patient.Wait()
	noError(t, s.Close())
}

// TestStalledServerBindsNoGoroutines: ten thousand callers bring nothing but themselves, and leave nothing behind.
func TestStalledServerBindsNoGoroutines(t *testing.T) {
	addr := silent(t)
	for _, test := range []struct {
		name  string
		rdb   redis.UniversalClient
		bound int // of goroutines beside the callers: the senders, and what go-redis has for connections
	}{
		{"single", redis.NewClient(&redis.Options{Addr: addr}), 100},
		{"cluster", redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}, ContextTimeoutEnabled: true}), 100},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer test.rdb.Close()
			s := Crowded(test.rdb)
			if test.name == "cluster" {
				s.lanes.cluster = nil // no topology is known; what matters is that nothing is sent from callers' goroutines
			}
			const callers = 10_000
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(within(t, time.Minute))
			var group sync.WaitGroup
			var failed atomic.Int32
			for range callers {
				group.Go(func() {
					_, _, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{"k"}, laneTags, nil)
					if e, ok := errors.AsType[*ReadError](err); ok && !e.Again && errors.Is(err, context.Canceled) {
						failed.Add(1)
					}
				})
			}
			waitFor(t, "all have asked", func() bool { return s.lanes.inFlight.Load() == crowd+callers })
			if n := runtime.NumGoroutine() - before - callers; n > test.bound {
				t.Errorf("%d goroutines beside the callers'", n)
			}
			cancel()
			group.Wait()
			if n := failed.Load(); n != callers {
				t.Errorf("%d of %d callers are told that their ctx is cancelled", n, callers)
			}
			for _, l := range s.lanes.all() {
				l.mu.Lock()
				if len(l.queue) != 0 || l.senders > maxSenders {
					t.Errorf("%d batches wait for nobody, %d senders", len(l.queue), l.senders)
				}
				l.mu.Unlock()
			}
		})
	}
}

// TestFailedBatch: one caller answers for all, and nobody has a lease to take back.
func TestFailedBatch(t *testing.T) {
	l, p := newPausedLane(t)
	rdb, _ := redistest.Mini(t)
	s := Crowded(rdb)
	s.lanes.sole = l
	const callers = 10
	errs := make(chan error, callers)
	ask := func() {
		_, _, err := s.Lease(within(t, time.Minute), []byte("lease"), time.Minute, []string{"k"}, laneTags, nil)
		errs <- err
	}
	for range maxSenders {
		go ask()
		p.next(t, "k", "{t}", "{t}a")
	}
	for range callers - maxSenders {
		go ask()
	}
	waitFor(t, "all have asked", func() bool {
		return s.lanes.inFlight.Load() == crowd+callers && waiting(s) == callers-maxSenders+maxSenders*maxBatch
	})
	boom := errors.New("boom")
	for range maxSenders {
		p.answers <- boom
	}
	p.next(t, "k", "{t}", "{t}a")
	p.answers <- boom
	counted := 0
	for range callers {
		err := <-errs
		e, ok := errors.AsType[*ReadError](err)
		if !ok || !errors.Is(err, boom) || err.Error() != "cachify: redis: get: boom" {
			t.Fatalf("error %v, want a ReadError of %v", err, boom)
		}
		if !e.Again {
			counted++
		}
	}
	if counted != maxSenders+1 {
		t.Errorf("%d failures of %d batches", counted, maxSenders+1)
	}
}

// TestOthersInABatch: a key of another type, an absent one and a big value are nobody else's trouble.
func TestOthersInABatch(t *testing.T) {
	for name, rdb := range map[string]redis.UniversalClient{
		"server": redistest.Start(t).Client(t), "cluster": redistest.StartCluster(t).Client(t),
	} {
		t.Run(name, func(t *testing.T) {
			s := Crowded(rdb)
			keys := numbered(40)
			stamps := fill(t, s, keys...)
			ctx := within(t, 30*time.Second)
			noError(t, rdb.LPush(ctx, "list", "v").Err())
			big := strings.Repeat("x", 4<<20)
			noError(t, rdb.Set(ctx, "big", big, 0).Err())
			lease := func(key string) ([]byte, error) {
				values, _, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{key}, laneTags, nil)
				if err != nil {
					return nil, err
				}
				return values[0], nil
			}
			var group sync.WaitGroup
			for _, key := range keys {
				group.Go(func() {
					if err := readOwnName(ctx, s, key, stamps); err != nil {
						t.Error(err)
					}
				})
			}
			group.Go(func() {
				if _, err := lease("list"); !errors.Is(err, claim.ErrWrongType) {
					t.Errorf("list: error %v, want %v", err, claim.ErrWrongType)
				}
			})
			group.Go(func() {
				if v, err := lease("absent"); v != nil || err != nil {
					t.Errorf("absent: %q, %v, want the lease", v, err)
				}
				if v, err := lease("absent"); string(v) != "lease" || err != nil {
					t.Errorf("leased: %q, %v, want the lease", v, err)
				}
			})
			group.Go(func() {
				if v, err := lease("big"); string(v) != big || err != nil {
					t.Errorf("big: %d bytes, %v", len(v), err)
				}
				if !s.lanes.big.has("big") {
					t.Error("a big value goes on travelling with others")
				}
				noError(t, rdb.Set(ctx, "big", "small", 0).Err())
				if v, err := lease("big"); string(v) != "small" || err != nil || s.lanes.big.has("big") {
					t.Errorf("no longer big: %q, %v, taken for big: %t", v, err, s.lanes.big.has("big"))
				}
			})
			group.Wait()
			noError(t, s.Close())
		})
	}
}

// TestHungNodeHoldsUpOnlyItsOwnKeys: batches are of one node each.
func TestHungNodeHoldsUpOnlyItsOwnKeys(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, enabled := range []bool{false, true} {
		t.Run(fmt.Sprintf("ContextTimeoutEnabled %t", enabled), func(t *testing.T) {
			rdb := cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = enabled })
			s := Crowded(rdb)
			keys := numbered(60)
			stamps := fill(t, s, keys...)
			at := func(key string) string {
				node, err := rdb.MasterForKey(t.Context(), key)
				noError(t, err)
				return node.Options().Addr
			}
			var hung *redistest.Server
			for i, addr := range cluster.Addrs() {
				if addr != at(laneTags[0]) {
					hung = cluster.Nodes[i]
				}
			}
			hung.Stop()
			defer hung.Cont()
			var group sync.WaitGroup
			for _, key := range keys {
				group.Go(func() {
					wait := 30 * time.Second
					if at(key) == hung.Addr() {
						wait = timeout
					}
					switch err := readOwnName(within(t, wait), s, key, stamps); {
					case wait == timeout && !errors.Is(err, context.DeadlineExceeded):
						t.Errorf("%s: error %v, want %v", key, err, context.DeadlineExceeded)
					case wait != timeout && err != nil:
						t.Error(err)
					}
				})
			}
			group.Wait()
			if n := len(s.lanes.all()); n != 3 {
				t.Errorf("%d lanes for 3 nodes", n)
			}
		})
	}
}
