package memstore

import (
	"fmt"
	"runtime"
	"testing"
	"time"
)

// TestOverhead compares what the store believes it takes with what it takes. Were it to believe in much
// less, the bound would be no bound; in much more, and memory would lie idle.
func TestOverhead(t *testing.T) {
	const n = 30_000
	for name, test := range map[string]struct {
		fill func(s *Store, i int)
		used func(s *Store) int64
	}{
		"entries": {
			fill: func(s *Store, i int) {
				_, _, err := s.Set(t.Context(), nil, []string{fmt.Sprintf("key-%012d", i)}, [][]byte{make([]byte, 64)}, []time.Duration{time.Hour}, nil)
				if err != nil {
					t.Fatal(err)
				}
			},
			used: func(s *Store) int64 { return s.used.Load() },
		},
		"fenced locks": {
			fill: func(s *Store, i int) {
				c := one(fmt.Sprintf("key-%012d", i), fmt.Sprintf("token-%020d", i), time.Hour)
				c.Fences = []string{"fence"}
				if fence, ok, err := s.Lock(t.Context(), c, ""); err != nil || !ok || fence == 0 {
					t.Fatalf("Lock gave %d, %t, %v", fence, ok, err)
				}
			},
			used: func(s *Store) int64 { return s.used.Load() },
		},
		"semaphores of one": {
			fill: func(s *Store, i int) {
				enter(t, s, fmt.Sprintf("key-%012d", i), fmt.Sprintf("token-%020d", i), time.Hour)
			},
			used: func(s *Store) int64 { return s.used.Load() },
		},
		"slots": {
			fill: func(s *Store, i int) {
				c := slot(fmt.Sprintf("key-%012d", i/100), fmt.Sprintf("token-%020d", i), time.Hour)
				c.Slots = 100
				if _, ok, err := s.Lock(t.Context(), c, ""); err != nil || !ok {
					t.Fatalf("Lock gave %t, %v", ok, err)
				}
			},
			used: func(s *Store) int64 { return s.used.Load() },
		},
		"tags": {
			fill: func(s *Store, i int) {
				if _, err := s.Advance(t.Context(), time.Hour, []string{"first", fmt.Sprintf("tag-%012d", i)}); err != nil {
					t.Fatal(err)
				}
			},
			used: func(s *Store) int64 { return s.tags.used.Load() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(1 << 30)
			before := inUse()
			for i := range n {
				test.fill(s, i)
			}
			took, used := inUse()-before, test.used(s)
			t.Logf("%d bytes each, %d counted", took/n, used/n)
			if took > used || took < used/2 {
				t.Errorf("the heap has grown by %d bytes, and the store counts %d", took, used)
			}
		})
	}
}

func inUse() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}
