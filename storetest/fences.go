package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-cachify/cachify"
)

var fences = []test{
	{"StartFromTheClock", func(h *harness) {
		h.nearClock(h.takeFenced(h.fenced("mine", long, "k"), ""))
		h.is("Lock", h.take(h.several("mine", long, "l")), true)
		h.nearClock(h.fenceOf(h.fenced("mine", long, "l")))
	}},
	{"FollowTheClock", func(h *harness) {
		first := h.takeFenced(h.fenced("first", long, "k"), "")
		h.is("Unlock", h.giveBack(h.fenced("first", long, "k")), true)
		time.Sleep(2 * time.Millisecond)
		if second := h.takeFenced(h.fenced("second", long, "k"), ""); second < first+1000 {
			h.Errorf("fencing token %d and 2 ms later %d: they are microseconds", first, second)
		}
	}},
	{"OnlyWhereAskedFor", func(h *harness) {
		fence, ok := h.takeFrom(h.several("mine", long, "k"), "")
		if !ok || fence != 0 {
			h.Errorf("Lock without fences gave %d, %t", fence, ok)
		}
	}},
	{"GrowWithEachHolding", growing},
	{"SameForOneHolding", func(h *harness) {
		for _, names := range [][]string{{"a"}, {"b", "c"}, {"d", "e", "f"}} {
			c := h.fenced("mine", long, names...)
			fence := h.takeFenced(c, "")
			for range 3 {
				h.same("fencing token of a repeated Lock", []int64{h.takeFenced(c, "")}, fence)
				h.same("fencing token of Fence", []int64{h.fenceOf(c)}, fence)
			}
			slices.Reverse(c.Keys)
			slices.Reverse(c.Fences)
			h.same("fencing token of Fence with the keys in another order", []int64{h.fenceOf(c)}, fence)
		}
	}},
	{"SameAfterExtend", func(h *harness) {
		fence := h.takeFenced(h.fenced("mine", short, "a", "b"), "")
		h.is("Extend", h.prolong(h.fenced("mine", long, "a", "b"))[0], true)
		h.pass() // longer than the first ttl
		h.same("fencing token of Fence", []int64{h.fenceOf(h.fenced("mine", long, "a", "b"))}, fence)
	}},
	{"AskedForLate", func(h *harness) {
		for range 3 {
			h.is("Lock without fences", h.take(h.several("first", long, "k")), true)
			first := h.fenceOf(h.fenced("first", long, "k"))
			h.same("fencing token of a repeated Lock", []int64{h.takeFenced(h.fenced("first", long, "k"), "")}, first)
			h.is("Unlock", h.giveBack(h.several("first", long, "k")), true)
			h.is("Lock without fences", h.take(h.several("never asks", long, "k")), true)
			h.is("Unlock", h.giveBack(h.several("never asks", long, "k")), true)
			h.is("Lock without fences", h.take(h.several("second", long, "k")), true)
			if second := h.fenceOf(h.fenced("second", long, "k")); second <= first {
				h.Errorf("fencing token %d after %d", second, first)
			}
			h.is("Unlock", h.giveBack(h.several("second", long, "k")), true)
		}
	}},
	{"NotForWhoDoesNotHold", func(h *harness) {
		h.hasNoFence("an absent lock", h.fenced("mine", long, "k"))
		h.holds(h.tags("k")[0], nil)
		fence := h.takeFenced(h.fenced("token-1", long, "k"), "")
		for _, other := range notToken1 {
			c := h.fenced(other, long, "k")
			h.hasNoFence("another's lock", c)
			if got, ok := h.takeFrom(c, ""); ok || got != 0 {
				h.Errorf("Lock of another's lock gave %d, %t", got, ok)
			}
			if got, ok := h.takeFrom(c, "nobody"); ok || got != 0 {
				h.Errorf("Lock of another's lock by hand-over from nobody gave %d, %t", got, ok)
			}
		}
		h.same("fencing token after others have asked", []int64{h.fenceOf(h.fenced("token-1", long, "k"))}, fence)
	}},
	{"NotForWhoHasLost", func(h *harness) {
		for i, lose := range losses {
			mine, yours := h.fenced("mine", short, fmt.Sprint("k", i)), h.fenced("yours", long, fmt.Sprint("k", i))
			first := h.takeFenced(mine, "")
			from := lose.how(h, mine)
			if from == "" {
				h.hasNoFence("a lock lost by "+lose.name, mine)
			}
			second := h.takeFenced(yours, from)
			if second <= first {
				h.Errorf("after %s: fencing token %d after %d", lose.name, second, first)
			}
			h.hasNoFence("a lock lost by "+lose.name+" and taken by another", mine)
			h.same("fencing token after the loser has asked", []int64{h.fenceOf(yours)}, second)
		}
	}},
	{"NotForAPart", func(h *harness) {
		all := h.fenced("mine", long, "a", "b")
		h.takeFenced(all, "")
		h.deleteIf("", all.Keys[1])
		h.hasNoFence("two locks of which one is lost", all)
		h.is("Lock of the other by another", h.take(h.several("yours", long, "b")), true)
		h.hasNoFence("two locks of which one is another's", all)
		h.fenceOf(h.fenced("mine", long, "a"))
	}},
	{"SeveralKeys", severalFences},
	{"AfterALossInPart", func(h *harness) {
		all := h.fenced("mine", long, "a", "b")
		first := h.takeFenced(all, "")
		h.deleteIf("", all.Keys[1])
		between := h.takeFenced(h.fenced("yours", long, "b"), "")
		h.is("Unlock", h.giveBack(h.fenced("yours", long, "b")), true)
		h.is("Unlock of what is lost in part", h.giveBack(all), false)
		if last := h.takeFenced(h.fenced("again", long, "a", "b"), ""); first >= between || between >= last {
			h.Errorf("fencing tokens %d, %d and %d do not grow", first, between, last)
		}
	}},
	{"Forgotten", func(h *harness) {
		// Where Delete can't remove the last number there is nothing to lose, and this holds as well.
		last := int64(0)
		for i := range 3 {
			c := h.fenced(fmt.Sprint("token", i), long, "a", "b")
			fence := h.takeFenced(c, "")
			if fence <= last {
				h.Errorf("after the last fencing token was lost: %d after %d", fence, last)
			}
			h.is("Unlock", h.giveBack(c), true)
			_, err := h.store.Delete(h.Context(), nil, c.Fences)
			h.noError("Delete", err)
			last = fence
			time.Sleep(time.Millisecond)
		}
	}},
	{"ConcurrentHoldings", concurrentFences},
}

// losses are the ways to lose a lock whose ttl is short. One that hands over gives the token to hand over from.
var losses = []struct {
	name string
	how  func(h *harness, c cachify.Claim) (from string)
}{
	{"Unlock", func(h *harness, c cachify.Claim) string { h.is("Unlock", h.giveBack(c), true); return "" }},
	{"Delete", func(h *harness, c cachify.Claim) string { h.is("Delete", h.deleteIf("", c.Keys[0]), true); return "" }},
	{"hand-over", func(h *harness, c cachify.Claim) string { return c.Token }},
	{"expiry", func(h *harness, c cachify.Claim) string {
		h.eventually("the end of a ttl", func() bool { return !h.exists(c.Keys[0]) })
		return ""
	}},
}

// growing lets many hold a lock, one after another, who lose it in all ways that take no time and get their fencing tokens in both.
func growing(h *harness) {
	stores := []cachify.Store{h.store, h.open()}
	last, from := int64(0), ""
	for i := range 60 {
		h.store = stores[i%2]
		c := h.fenced(fmt.Sprint("token ", i), long, "k")
		var fence int64
		if i%5 < 3 {
			fence = h.takeFenced(c, from)
		} else {
			bare := c
			bare.Fences = nil
			_, ok := h.takeFrom(bare, from)
			h.is("Lock", ok, true)
			fence = h.fenceOf(c)
		}
		if fence <= last {
			h.Fatalf("holding %d has the fencing token %d after %d", i, fence, last)
		}
		last, from = fence, losses[i%3].how(h, c)
	}
}

// fenceOf asks for a fencing token that must be given.
func (h *harness) fenceOf(c cachify.Claim) int64 {
	h.Helper()
	fence, ok := h.fence(c)
	h.is(fmt.Sprintf("Fence of %q by %q", c.Keys, c.Token), ok, true)
	return fence
}

func (h *harness) hasNoFence(what string, c cachify.Claim) {
	h.Helper()
	if fence, ok := h.fence(c); ok || fence != 0 {
		h.Errorf("Fence of %s by %q gave %d, %t, want none", what, c.Token, fence, ok)
	}
}

// severalFences holds locks in changing company: a number must be greater than any that one of the keys has seen.
func severalFences(h *harness) {
	last := make(map[string]int64)
	for i := range 40 {
		names := overlapping[i%len(overlapping)]
		c := h.fenced(fmt.Sprint("token ", i), long, names...)
		fence := h.takeFenced(c, "")
		for _, name := range names {
			if fence <= last[name] {
				h.Errorf("a holding of %q has the fencing token %d, one of %q had %d before", names, fence, name, last[name])
			}
			last[name] = fence
		}
		h.is("Unlock", h.giveBack(c), true)
	}
}

// concurrentFences records the fencing tokens in the order of the holdings, which the lock itself keeps.
func concurrentFences(h *harness) {
	const times = 12
	stores := []cachify.Store{h.store, h.open()}
	var mu sync.Mutex
	taken := make(map[string][]int64)
	h.each(len(overlapping), func(i int) error {
		for n := range times {
			c := h.fenced(fmt.Sprint("token ", i, n), long, overlapping[i]...)
			if err := h.await(stores[i%2], c); err != nil {
				return err
			}
			fence, ok, err := stores[i%2].Fence(h.Context(), c)
			if err != nil || !ok {
				return fmt.Errorf("the holder's Fence gave %t, %v", ok, err)
			}
			mu.Lock()
			for _, name := range overlapping[i] {
				taken[name] = append(taken[name], fence)
			}
			mu.Unlock()
			if ok, err := stores[i%2].Unlock(h.Context(), c); err != nil || !ok {
				return fmt.Errorf("the holder's Unlock gave %t, %v", ok, err)
			}
		}
		return nil
	})
	for name, fences := range taken {
		for n := 1; n < len(fences); n++ {
			if fences[n] <= fences[n-1] {
				h.Errorf("the fencing tokens of %q do not grow: %d", name, fences)
				break
			}
		}
	}
}
