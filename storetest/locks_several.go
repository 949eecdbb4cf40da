package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

var severalLocks = []test{
	{"AllOrNone", func(h *harness) {
		names := []string{"a", "b", "c"}
		for taken, name := range names {
			h.is("Lock of "+name, h.take(h.several("yours", long, name)), true)
			h.is("Lock of a, b and c", h.take(h.several("mine", long, names...)), false)
			for i, key := range h.tags(names...) {
				if i == taken {
					h.holds(key, "yours")
				} else {
					h.holds(key, nil)
				}
			}
			h.is("Unlock of "+name, h.giveBack(h.several("yours", long, name)), true)
		}
		h.is("Lock of what is free", h.take(h.several("mine", long, names...)), true)
		h.allHold("mine", names...)
		for _, name := range names {
			h.is("Lock of "+name+" by another", h.take(h.several("yours", long, name)), false)
			h.heldBy(h.tags(name)[0], false, "mine")
		}
		h.is("Extend", h.prolong(h.several("mine", long, names...))[0], true)
		h.is("Unlock", h.giveBack(h.several("mine", long, names...)), true)
		h.allHold(nil, names...)
	}},
	{"AValueIsInTheWay", func(h *harness) {
		h.set(h.tags("b")[0], "value", long)
		h.is("Lock", h.take(h.several("mine", long, "a", "b")), false)
		h.holds(h.tags("a")[0], nil)
		h.holds(h.tags("b")[0], "value")
	}},
	{"RepeatedLock", func(h *harness) {
		for attempt := range 3 {
			h.is(fmt.Sprint("attempt ", attempt), h.take(h.several("mine", long, "a", "b")), true)
		}
		h.is("attempt in another order", h.take(h.several("mine", long, "b", "a")), true)
		h.allHold("mine", "a", "b")
	}},
	{"AnyOrder", func(h *harness) {
		h.is("Lock", h.take(h.several("mine", long, "a", "b", "c")), true)
		h.is("Extend", h.prolong(h.several("mine", long, "c", "a", "b"))[0], true)
		h.is("Unlock", h.giveBack(h.several("mine", long, "b", "c", "a")), true)
		h.allHold(nil, "a", "b", "c")
	}},
	{"Many", func(h *harness) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprint("lock", i))
		}
		h.is("Lock of one", h.take(h.several("yours", long, names[99])), true)
		h.is("Lock", h.take(h.several("mine", long, names...)), false)
		h.is("Unlock of one", h.giveBack(h.several("yours", long, names[99])), true)
		h.is("Lock", h.take(h.several("mine", long, names...)), true)
		h.is("Extend", h.prolong(h.several("mine", long, names...))[0], true)
		h.allHold("mine", names...)
		h.is("Unlock", h.giveBack(h.several("mine", long, names...)), true)
		h.allHold(nil, names...)
	}},
	{"Expiry", func(h *harness) {
		keys := h.tags("a", "b")
		h.ends(short, func() { h.take(h.several("mine", short, "a", "b")) }, func() bool { return h.exists(keys[0]) || h.exists(keys[1]) })
		h.is("Extend of expired locks", h.prolong(h.several("mine", long, "a", "b"))[0], false)
		h.is("Unlock of expired locks", h.giveBack(h.several("mine", long, "a", "b")), false)
		h.is("Lock by another", h.take(h.several("yours", long, "a", "b")), true)
	}},
	{"ExtendedTogether", func(h *harness) {
		h.is("Lock", h.take(h.several("mine", short, "a", "b")), true)
		h.is("Extend", h.prolong(h.several("mine", long, "a", "b"))[0], true)
		h.pass()
		h.allHold("mine", "a", "b")
	}},
	{"LostInPart", func(h *harness) {
		mine := h.several("mine", long, "a", "b", "c")
		for _, taken := range []bool{false, true} {
			h.is("Lock", h.take(mine), true)
			h.deleteIf("", mine.Keys[1])
			var want any
			if taken {
				want = "yours"
				h.is("Lock by another", h.take(h.several("yours", long, "b")), true)
			}
			h.is("Extend of what is lost in part", h.prolong(mine)[0], false)
			h.holds(mine.Keys[1], want)
			h.is("Unlock of what is lost in part", h.giveBack(mine), false)
			h.holds(mine.Keys[0], nil)
			h.holds(mine.Keys[1], want)
			h.holds(mine.Keys[2], nil)
			h.is("Unlock once more", h.giveBack(mine), false)
			h.holds(mine.Keys[1], want)
		}
	}},
	{"LostInPartIsNotProlonged", func(h *harness) {
		h.ends(short, func() {
			h.is("Lock", h.take(h.several("mine", short, "a", "b")), true)
			h.deleteIf("", h.tags("b")[0])
			h.is("Extend of a and b", h.prolong(h.several("mine", long, "a", "b"))[0], false)
			h.is("Lock of b by another", h.take(h.several("yours", long, "b")), true)
			h.is("Lock of a and b", h.take(h.several("mine", long, "a", "b")), false)
		}, func() bool { return h.exists(h.tags("a")[0]) })
		h.holds(h.tags("b")[0], "yours")
	}},
	{"UnlockTellsOfEach", func(h *harness) {
		mine := h.several("mine", long, "a", "b", "c")
		h.is("Lock", h.take(mine), true)
		h.deleteIf("", mine.Keys[1]) // who waits for b may have missed that
		var chans []<-chan struct{}
		for i, key := range mine.Keys {
			ch, stop := h.watching([]cachify.Store{h.store, h.open()}[i%2], key)
			defer stop()
			chans = append(chans, ch)
		}
		h.is("Unlock", h.giveBack(mine), false)
		for i, ch := range chans {
			h.receives("the Unlock of "+mine.Keys[i], ch)
		}
	}},
	{"NeverTwoHolders", neverTwoHolders},
}

// allHold checks several of the keys of h.several.
func (h *harness) allHold(want any, names ...string) {
	h.Helper()
	for _, key := range h.tags(names...) {
		h.holds(key, want)
	}
}

// neverTwoHolders lets clients of two stores take locks in groups that overlap, with their keys in different orders.
// All must get on, and no key may have two holders.
func neverTwoHolders(h *harness) {
	const times = 15
	stores := []cachify.Store{h.store, h.open()}
	var holders [3]atomic.Int32
	h.each(len(overlapping), func(i int) error {
		c := h.several(fmt.Sprint("token of ", i), long, overlapping[i]...)
		for range times {
			if err := h.await(stores[i%2], c); err != nil {
				return err
			}
			for _, name := range overlapping[i] {
				if n := holders[name[0]-'a'].Add(1); n != 1 {
					return fmt.Errorf("%s has %d holders", name, n)
				}
			}
			time.Sleep(100 * time.Microsecond)
			for _, name := range overlapping[i] {
				holders[name[0]-'a'].Add(-1)
			}
			if ok, err := stores[i%2].Unlock(h.Context(), c); err != nil || !ok {
				return fmt.Errorf("the holder's Unlock gave %t, %v", ok, err)
			}
		}
		return nil
	})
	h.allHold(nil, "a", "b", "c")
}

var overlapping = [][]string{{"a", "b"}, {"b", "a"}, {"a", "b", "c"}, {"c", "b", "a"}, {"b"}, {"c", "a"}}
