package storetest

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

// clockSlack is how far the backend's clock may be from the test's.
const clockSlack = int64(10 * time.Minute / time.Microsecond)

var tags = []test{
	{"StartFromTheClock", func(h *harness) {
		tags := h.tags("first", "second")
		h.nearClock(h.setTags(long, tags...)...)
		h.nearClock(h.advance(long, h.tags("other")...))
	}},
	{"SetCreatesAbsentTags", func(h *harness) {
		tags := h.tags("first", "second", "third")
		stamps := h.setTags(long, tags...)
		h.same("stamps of new tags", stamps, stamps[0], stamps[0], stamps[0])
		h.same("stamps read", h.stamps(tags...), stamps...)
		h.same("stamps of a second Set", h.setTags(long, tags...), stamps...)
	}},
	{"AbsentTagGetsTheFirstsStamp", func(h *harness) {
		tags := h.tags("first", "second", "third")
		old := h.advance(long, tags[:2]...)
		now := h.advance(long, tags[0])
		h.same("stamps of Set", h.setTags(long, tags...), now, old, now)
		h.same("stamps read", h.stamps(tags...), now, old, now)
	}},
	{"RefusedSetSeesToTags", func(h *harness) {
		tags := h.tags("first", "second")
		done, stamps, err := h.store.Set(h.Context(), []byte("head"), h.keys("absent"), [][]byte{[]byte("value")}, []time.Duration{long}, tags)
		h.noError("Set", err)
		h.is("Set with a head over nothing", done[0], false)
		h.nearClock(stamps...)
		h.same("stamps read", h.stamps(tags...), stamps...)
	}},
	{"SetWithoutTagsCreatesNone", func(h *harness) {
		h.set(h.key("k"), "value", long)
		h.same("stamps read", h.stamps(h.tags("first")...), 0)
	}},
	{"ManyTags", func(h *harness) {
		var names []string
		for i := range 200 {
			names = append(names, fmt.Sprint("tag", i))
		}
		tags := h.tags(names...)
		first := h.advance(long, tags[0])
		var odd []string
		for i := 1; i < len(tags); i += 2 {
			odd = append(odd, tags[i])
		}
		second := h.advance(long, append(tags[:1:1], odd...)...)
		third := h.advance(long, tags[0])
		for i, stamp := range h.setTags(long, tags...) {
			if want := third; i%2 == 1 && stamp != second || i%2 == 0 && stamp != want {
				h.Fatalf("tag %d of many has stamp %d; stamps were %d, %d, %d", i, stamp, first, second, third)
			}
		}
	}},
	{"AdvanceWritesAll", func(h *harness) {
		tags := h.tags("first", "second", "third", "a \x00 b")
		last := h.setTags(long, tags...)[0]
		for range 10 {
			stamp := h.advance(long, tags...)
			if stamp <= last {
				h.Fatalf("Advance gave %d after %d", stamp, last)
			}
			h.same("stamps read", h.stamps(tags...), stamp, stamp, stamp, stamp)
			last = stamp
		}
	}},
	{"AdvanceLeavesOthers", func(h *harness) {
		tags := h.tags("first", "second", "third")
		old := h.advance(long, tags...)
		stamp := h.advance(long, tags[0], tags[2])
		h.same("stamps read", h.stamps(tags...), stamp, old, stamp)
	}},
	{"AdvanceFollowsTheClock", func(h *harness) {
		tag := h.tags("first")[0]
		first := h.advance(long, tag)
		time.Sleep(2 * time.Millisecond)
		if second := h.advance(long, tag); second < first+1000 {
			h.Errorf("Advance gave %d and 2 ms later %d: stamps are microseconds", first, second)
		}
	}},
	{"LostFirstTag", func(h *harness) {
		// Where Delete can't remove a tag there is nothing to lose, and this holds as well.
		tags := h.tags("first", "second")
		old := h.advance(long, tags...)
		_, err := h.store.Delete(h.Context(), nil, tags[:1])
		h.noError("Delete", err)
		stamp := h.advance(long, tags...)
		if stamp < old {
			h.Errorf("after its first tag was lost, Advance went back from %d to %d", old, stamp)
		}
		h.same("stamps read", h.stamps(tags...), stamp, stamp)
		_, err = h.store.Delete(h.Context(), nil, tags[:1])
		h.noError("Delete", err)
		if got := h.setTags(long, tags...); got[0] < stamp || got[1] != stamp {
			h.Errorf("after its first tag was lost, Set gave %d, want at least %d and %d", got, stamp, stamp)
		}
	}},
	{"FirstDoesNotExpire", func(h *harness) {
		tags := h.tags("advanced", "set")
		before := []int64{h.advance(short, tags[0]), h.setTags(short, tags[1])[0]}
		h.pass()
		h.same("stamps of first tags after a while", h.stamps(tags...), before...)
	}},
	{"NotShortened", notShortened},
	{"Prolonged", prolonged},
	{"UniqueStamps", uniqueStamps},
	{"OnlyForward", onlyForward},
}

func (h *harness) same(what string, got []int64, want ...int64) {
	h.Helper()
	if !slices.Equal(got, want) {
		h.Errorf("%s: %d, want %d", what, got, want)
	}
}

func (h *harness) nearClock(stamps ...int64) {
	h.Helper()
	now := time.Now().UnixMicro()
	for _, stamp := range stamps {
		if stamp < now-clockSlack || stamp > now+clockSlack {
			h.Errorf("a first stamp is %d, want about %d, the microseconds since 1970", stamp, now)
		}
	}
}

// notShortened: a ttl that was promised holds, whatever shorter ones come later.
func notShortened(h *harness) {
	tags := h.tags("first", "set and set", "set and advance", "advance and set", "advance and advance", "no expiry")
	h.setTags(long, tags[0], tags[1])
	h.setTags(long, tags[0], tags[2])
	h.advance(long, tags[0], tags[3])
	h.advance(long, tags[0], tags[4])
	h.setTags(cachify.NoExpiry, tags[0], tags[5])
	h.setTags(short, tags[0], tags[1], tags[3], tags[5])
	h.advance(short, tags[0], tags[2], tags[4], tags[5])
	before := h.stamps(tags...)
	h.pass()
	h.same("stamps after a shorter ttl", h.stamps(tags...), before...)
	h.nearClock(before...)
}

// prolonged: the longest ttl of a call counts, also for a tag that was there with a shorter one.
func prolonged(h *harness) {
	tags := h.tags("first", "new", "set before", "advanced before", "advanced")
	h.setTags(short, tags[0], tags[2])
	h.advance(short, tags[0], tags[3])
	h.advance(short, tags[0], tags[4])
	h.advance(long, tags[0], tags[4])
	value := []byte("value")
	_, before, err := h.store.Set(h.Context(), nil, h.keys("a", "b", "c"), [][]byte{value, value, value},
		[]time.Duration{short, long, short}, tags[:4])
	h.noError("Set", err)
	before = append(before, h.stamps(tags[4])...)
	h.pass()
	h.same("stamps after the shorter ttl", h.stamps(tags...), before...)
	h.nearClock(before...)
}

// uniqueStamps takes stamps in many goroutines at once: no two may be alike, and each goroutine's must grow.
func uniqueStamps(h *harness) {
	const takers, times = 8, 40
	tags := h.tags("first", "even", "odd")
	stores := []cachify.Store{h.store, h.open()}
	taken := make([][]int64, takers)
	h.each(takers, func(i int) error {
		for range times {
			stamp, err := stores[i%2].Advance(h.Context(), long, []string{tags[0], tags[1+i%2]})
			if err != nil {
				return err
			}
			taken[i] = append(taken[i], stamp)
		}
		return nil
	})
	for i, stamps := range taken {
		if !slices.IsSorted(stamps) {
			h.Errorf("the stamps of goroutine %d do not grow: %d", i, stamps)
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(taken...)))
	if different := len(slices.Compact(slices.Clone(all))); different != takers*times {
		h.Errorf("%d calls of Advance gave %d different stamps", takers*times, different)
	}
	h.same("stamp of the first tag", h.stamps(tags[0]), all[len(all)-1])
}

// onlyForward reads stamps while they grow: nobody may see less than an Advance gave that had returned
// before they asked.
func onlyForward(h *harness) {
	const times = 60
	tags := h.tags("first", "second")
	stores := []cachify.Store{h.store, h.open()}
	h.setTags(long, tags...)
	var latest atomic.Int64
	h.each(6, func(i int) error {
		store := stores[i%2]
		for n := range times {
			least := latest.Load()
			var stamps []int64
			var err error
			switch i {
			case 0, 1:
				var stamp int64
				if stamp, err = store.Advance(h.Context(), long, tags); err == nil {
					stamps = []int64{stamp, stamp}
					raise(&latest, stamp)
				}
			case 2, 3:
				_, stamps, err = store.Get(h.Context(), nil, tags, nil)
			case 4:
				_, stamps, err = store.Lease(h.Context(), []byte("lease"), long, h.keys(fmt.Sprint(n)), tags, nil)
			case 5:
				_, stamps, err = store.Set(h.Context(), nil, h.keys("k"), [][]byte{[]byte("value")}, []time.Duration{long}, tags)
			}
			if err != nil {
				return err
			}
			if len(stamps) != 2 || stamps[0] < least || stamps[1] < least {
				return fmt.Errorf("caller %d saw stamps %d after Advance had given %d", i, stamps, least)
			}
		}
		return nil
	})
}

func raise(latest *atomic.Int64, stamp int64) {
	for old := latest.Load(); old < stamp && !latest.CompareAndSwap(old, stamp); old = latest.Load() {
	}
}
