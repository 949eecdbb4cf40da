package memstore

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStampIsTheClock uses the clock of the bubble: 2000-01-01.
func TestStampIsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		start := time.Now().UnixMicro()
		for i := range int64(5) {
			if got := advance(t, s, time.Hour, "first"); got != start+i {
				t.Errorf("stamp %d at one moment is %d, want %d", i, got, start+i)
			}
		}
		time.Sleep(time.Second)
		if got := advance(t, s, time.Hour, "first"); got != start+1e6 {
			t.Errorf("the stamp a second later is %d, want %d", got, start+1000)
		}
	})
}

// TestTagsComeBack: a tag that expired and comes back must not show its old stamp.
func TestTagsComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		old := advance(t, s, time.Second, "first", "tag")
		time.Sleep(time.Second)
		if got := stampOf(t, s, "tag"); got != 0 {
			t.Errorf("an expired tag has stamp %d", got)
		}
		now := advance(t, s, time.Second, "first")
		_, stamps, err := s.Set(t.Context(), nil, []string{"key"}, [][]byte{nil}, []time.Duration{time.Hour}, []string{"first", "tag"})
		if err != nil || stamps[1] != now || now <= old {
			t.Errorf("a tag that comes back has stamps %d, %v, want %d: it was %d", stamps, err, now, old)
		}
		time.Sleep(time.Minute)
		if got := stampOf(t, s, "tag"); got != now {
			t.Errorf("the tag has stamp %d after a minute, want %d", got, now)
		}
	})
}

// TestTagsWithoutKeys: a Set without keys has no ttl to give to its tags. They must not stay for ever.
func TestTagsWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(small)
		_, stamps, err := s.Set(t.Context(), nil, nil, nil, nil, []string{"first", "tag"})
		if err != nil || stamps[0] == 0 || stamps[1] != stamps[0] {
			t.Errorf("Set gave %d, %v", stamps, err)
		}
		time.Sleep(time.Second)
		put(t, s, "key", nil, time.Hour)
		if _, _, _, tags, timers := size(s); tags != 1 || timers != 0 {
			t.Errorf("%d tags and %d timers are in memory, want 1 and 0", tags, timers)
		}
	})
}

// TestStampsUnderConcurrency takes many stamps at once, from two lists with one first tag, while others
// write values with these tags.
func TestStampsUnderConcurrency(t *testing.T) {
	const takers, times = 4, 8000
	s := New(small)
	taken := make([][]int64, takers)
	var group sync.WaitGroup
	for g := range takers {
		tags := []string{"first", fmt.Sprint("tag", g%2)}
		group.Go(func() {
			for range times {
				stamp, err := s.Advance(t.Context(), time.Hour, tags)
				if err != nil {
					t.Error(err)
				}
				taken[g] = append(taken[g], stamp)
			}
		})
		group.Go(func() {
			for i := range times {
				_, _, err := s.Set(t.Context(), nil, []string{"key"}, [][]byte{nil}, []time.Duration{time.Millisecond}, append(tags, fmt.Sprint(i%100)))
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	all := slices.Sorted(slices.Values(slices.Concat(taken...)))
	if different := len(slices.Compact(all)); different != takers*times {
		t.Errorf("%d calls of Advance gave %d different stamps", takers*times, different)
	}
	checkBooks(t, s)
}
