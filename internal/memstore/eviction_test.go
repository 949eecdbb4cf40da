package memstore

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
)

const small = 4 << 20 // a bound that tests can exceed many times

// TestBounded writes ten times the bound, in values of all sizes.
func TestBounded(t *testing.T) {
	s := New(small)
	random := rand.New(rand.NewPCG(1, 2))
	written := 0
	for i := 0; written < 10*small; i++ {
		value := make([]byte, random.IntN(1<<random.IntN(18)+1))
		put(t, s, fmt.Sprint("key", i), value, time.Hour)
		written += len(value)
		if used := s.used.Load(); used > small {
			t.Fatalf("after %d bytes the store holds %d, its bound is %d", written, used, small)
		}
	}
	if used := s.used.Load(); used < small/2 {
		t.Errorf("the store holds %d bytes of %d it may hold", used, small)
	}
}

func TestBoundedUnderConcurrency(t *testing.T) {
	s := New(small)
	var wrong atomic.Int64
	var group sync.WaitGroup
	for g := range 4 {
		group.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(g)))
			for range 4000 {
				key := fmt.Sprint("key", random.IntN(5000))
				switch random.IntN(8) {
				case 0:
					_, _, _ = s.Get(t.Context(), []string{key}, nil, nil)
				case 1:
					_, _ = s.Delete(t.Context(), nil, []string{key})
				default:
					_, _, _ = s.Set(t.Context(), nil, []string{key}, [][]byte{make([]byte, random.IntN(8000))}, []time.Duration{time.Hour}, nil)
				}
				// Each goroutine may be between its write and the eviction that goes with it.
				if s.used.Load() > small+4*(8000+200) {
					wrong.Add(1)
				}
			}
		})
	}
	group.Wait()
	if wrong.Load() != 0 || s.used.Load() > small {
		t.Errorf("the store was above its bound %d times, and holds %d bytes of %d now", wrong.Load(), s.used.Load(), small)
	}
	checkBooks(t, s)
}

// TestNeverEvicted writes ten times the bound around leases, locks, semaphores and tags.
func TestNeverEvicted(t *testing.T) {
	s := New(small)
	const n = 500
	for i := range n {
		lease(t, s, fmt.Sprint("lease", i), "lease", time.Hour)
		lock(t, s, fmt.Sprint("lock", i), "token", time.Hour)
		enter(t, s, fmt.Sprint("semaphore", i), "token", time.Hour)
		advance(t, s, time.Hour, "first", fmt.Sprint("tag", i))
	}
	for i := range 10 * small / 1000 {
		put(t, s, fmt.Sprint("value", i), make([]byte, 1000), time.Hour)
	}
	for i := range n {
		if get(t, s, fmt.Sprint("lease", i)) == nil || get(t, s, fmt.Sprint("lock", i)) == nil || stampOf(t, s, fmt.Sprint("tag", i)) == 0 ||
			holders(t, s, fmt.Sprint("semaphore", i)) != 1 {
			t.Fatalf("lease, lock, semaphore or tag %d was evicted", i)
		}
	}
	if s.used.Load()+s.tags.used.Load() > small {
		t.Errorf("the store holds %d and %d bytes, its bound is %d", s.used.Load(), s.tags.used.Load(), small)
	}
	checkBooks(t, s)
}

// TestOnlyLeases fills the bound with what can't be evicted: it stays, and values find no room.
func TestOnlyLeases(t *testing.T) {
	s := New(small)
	const n = small / 1000
	for i := range n {
		lease(t, s, fmt.Sprint("lease", i), string(make([]byte, 1000)), time.Hour)
	}
	if s.used.Load() <= small {
		t.Fatalf("%d bytes of leases do not fill the bound of %d", s.used.Load(), small)
	}
	put(t, s, "value", []byte("value"), time.Hour)
	if get(t, s, "value") != nil {
		t.Error("a value found room where there is none")
	}
	for i := range n {
		if get(t, s, fmt.Sprint("lease", i)) == nil {
			t.Fatalf("lease %d was evicted", i)
		}
	}
	put(t, s, "lease0", []byte("value"), time.Hour) // no lease any more
	if get(t, s, "lease0") != nil {
		t.Error("a value in the place of a lease was not evicted")
	}
	checkBooks(t, s)
}

// TestTooLarge writes a value that is too large to keep. It must behave like one that was evicted at
// once, and cost the others nothing.
func TestTooLarge(t *testing.T) {
	s := New(small)
	for i := range 100 {
		put(t, s, fmt.Sprint("value", i), []byte("value"), time.Hour)
	}
	lease(t, s, "key", "lease", time.Hour)
	changes, stop := s.Watch("key")
	defer stop()
	<-changes
	large := make([]byte, small/largestPart)
	done, stamps, err := s.Set(t.Context(), []byte("lease"), []string{"key"}, [][]byte{large}, []time.Duration{time.Hour}, []string{"first", "tag"})
	if err != nil || !done[0] || stamps[0] == 0 || stamps[0] != stamps[1] {
		t.Errorf("Set gave %v, %d, %v", done, stamps, err)
	}
	select {
	case <-changes:
	default:
		t.Error("a watcher was not told")
	}
	if got := get(t, s, "key"); got != nil {
		t.Errorf("after a value too large to keep, the key holds %d bytes", len(got))
	}
	for i := range 100 {
		if get(t, s, fmt.Sprint("value", i)) == nil {
			t.Fatalf("value %d was evicted for nothing", i)
		}
	}
	put(t, s, "key", make([]byte, small/largestPart-entryOverhead-len("key")), time.Hour)
	if get(t, s, "key") == nil {
		t.Error("the largest value that may be kept was not")
	}
	checkBooks(t, s)
}

// TestScan reads a hot set while ten times the bound passes by, each value written and read once.
func TestScan(t *testing.T) {
	const valueSize = 1000
	s := New(small)
	fits := small / (valueSize + entryOverhead + 10)
	hot := fits / 4
	value := make([]byte, valueSize)
	random := rand.New(rand.NewPCG(5, 6))
	hits, reads := 0, 0
	for i := range 10 * fits {
		put(t, s, fmt.Sprint("scan", i), value, time.Hour)
		key := fmt.Sprint("hot", random.IntN(hot))
		reads++
		if get(t, s, key) != nil {
			hits++
		} else {
			put(t, s, key, value, time.Hour)
		}
	}
	ratio := float64(hits) / float64(reads)
	t.Logf("%d entries fit, %d of them hot: hit ratio %.3f", fits, hot, ratio)
	if ratio < 0.95 {
		t.Errorf("the hit ratio of the hot set is %.3f, want at least 0.95", ratio)
	}
	checkBooks(t, s)
}

// TestZeroBound keeps no values, but all the rest.
func TestZeroBound(t *testing.T) {
	s := New(0)
	put(t, s, "value", []byte("value"), time.Hour)
	lease(t, s, "lease", "lease", time.Hour)
	stamp := advance(t, s, time.Hour, "first")
	if get(t, s, "value") != nil || string(get(t, s, "lease")) != "lease" || stampOf(t, s, "first") != stamp {
		t.Error("a store without room keeps a value, or no lease or tag")
	}
}

// TestBooks does everything at random and then checks the books, and once more when all is gone.
func TestBooks(t *testing.T) {
	s := New(small / 16)
	random := rand.New(rand.NewPCG(7, 8))
	ttls := []time.Duration{-1, time.Nanosecond, time.Millisecond, time.Hour}
	for i := range 30_000 {
		key, ttl := fmt.Sprint("key", random.IntN(2000)), ttls[random.IntN(len(ttls))]
		var err error
		switch call := random.IntN(8); {
		case i%4 == 0:
			err = slotsAtRandom(t, s, fmt.Sprint("sem", random.IntN(200)), fmt.Sprint("token", random.IntN(5)), ttl, call)
		case call == 0:
			_, _, err = s.Lease(t.Context(), []byte("lease"), ttl, []string{key}, nil, nil)
		case call == 1:
			c := one(key, "token", ttl)
			if i%2 == 0 {
				c.Fences = []string{"fence"}
			}
			_, _, err = s.Lock(t.Context(), c, []string{"", "token", "another"}[i%3])
		case call == 2:
			_, errs := s.Extend(t.Context(), []claim.Claim{one(key, "token", ttl)})
			err = errors.Join(errs...)
		case call == 3:
			_, err = s.Unlock(t.Context(), one(key, "token", ttl))
		case call == 4:
			_, err = s.Expire(t.Context(), nil, ttl, []string{key})
		case call == 5:
			_, err = s.Delete(t.Context(), nil, []string{key})
		default:
			_, _, err = s.Set(t.Context(), nil, []string{key}, [][]byte{make([]byte, random.IntN(1000))}, []time.Duration{ttl}, []string{"first", key})
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			checkBooks(t, s)
		}
	}
	checkBooks(t, s)
	for i := range 2000 {
		if _, err := s.Delete(t.Context(), nil, []string{fmt.Sprint("key", i), fmt.Sprint("sem", i)}); err != nil {
			t.Fatal(err)
		}
	}
	checkBooks(t, s)
	if entries, timers, queued, _, _ := size(s); s.used.Load() != 0 || entries+timers+queued != 0 {
		t.Errorf("an empty store counts %d bytes, %d entries, %d timers, %d in the queue", s.used.Load(), entries, timers, queued)
	}
}

func slotsAtRandom(t *testing.T, s *Store, key, token string, ttl time.Duration, call int) (err error) {
	switch call {
	case 0:
		_, err = s.Unlock(t.Context(), slot(key, token, ttl))
	case 1:
		_, errs := s.Extend(t.Context(), []claim.Claim{slot(key, token, ttl)})
		err = errors.Join(errs...)
	case 2:
		_, err = s.Delete(t.Context(), nil, []string{key})
	case 3:
		_, _, err = s.Lock(t.Context(), slot(key, token, ttl), "token0")
	default:
		_, _, err = s.Lock(t.Context(), slot(key, token, ttl), "")
	}
	return err
}
