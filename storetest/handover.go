package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

var handover = []test{
	{"Takes", func(h *harness) {
		old, next := h.several("old", long, "k"), h.several("next", long, "k")
		h.is("Lock", h.take(old), true)
		h.isHandedOver(next, "old")
		h.holds(next.Keys[0], "next")
		h.heldBy(next.Keys[0], false, "next")
		h.is("Extend by the old holder", h.prolong(old)[0], false)
		h.is("Unlock by the old holder", h.giveBack(old), false)
		h.is("Lock by the old holder", h.take(old), false)
		h.is("Extend", h.prolong(next)[0], true)
		h.is("Unlock", h.giveBack(next), true)
		h.holds(next.Keys[0], nil)
	}},
	{"Repeated", func(h *harness) {
		next := h.several("next", long, "a", "b")
		h.is("Lock", h.take(h.several("old", long, "a", "b")), true)
		for range 3 {
			h.isHandedOver(next, "old")
		}
		h.is("Lock without a hand-over", h.take(next), true)
		h.allHold("next", "a", "b")
	}},
	{"NobodyHolds", func(h *harness) {
		h.isNotHandedOver(h.several("next", long, "k"), "old")
		h.holds(h.tags("k")[0], nil)
	}},
	{"AnotherHolds", func(h *harness) {
		h.is("Lock", h.take(h.several("other", long, "k")), true)
		h.isNotHandedOver(h.several("next", long, "k"), "old")
		h.holds(h.tags("k")[0], "other")
	}},
	{"HolderHasUnlocked", func(h *harness) {
		h.is("Lock", h.take(h.several("old", long, "k")), true)
		h.is("Unlock", h.giveBack(h.several("old", long, "k")), true)
		h.isNotHandedOver(h.several("next", long, "k"), "old")
		h.is("Lock by another", h.take(h.several("other", long, "k")), true)
		h.isNotHandedOver(h.several("next", long, "k"), "old")
	}},
	{"HolderHasExpired", func(h *harness) {
		key := h.tags("k")[0]
		h.ends(short, func() { h.lock(key, "old", short) }, func() bool { return h.exists(key) })
		h.isNotHandedOver(lockOf("next", long, key), "old")
		h.holds(key, nil)
	}},
	{"WholeToken", func(h *harness) {
		h.is("Lock", h.take(h.several("token-1", long, "k")), true)
		for _, other := range notToken1 {
			h.isNotHandedOver(h.several("next", long, "k"), other)
		}
		h.holds(h.tags("k")[0], "token-1")
		h.isHandedOver(h.several("token-12", long, "k"), "token-1")
		h.isHandedOver(h.several("token", long, "k"), "token-12")
		h.holds(h.tags("k")[0], "token")
	}},
	{"AnyToken", func(h *harness) {
		last := "first"
		h.is("Lock", h.take(h.several(last, long, "k")), true)
		for _, token := range awkwardTokens() {
			h.isHandedOver(h.several(token, long, "k"), last)
			h.holds(h.tags("k")[0], token)
			last = token
		}
	}},
	{"NewTTL", func(h *harness) {
		key := h.tags("k")[0]
		for _, c := range lifetimes {
			h.lock(key, "old", short)
			h.isHandedOver(lockOf("next", c.ttl, key), "old")
			_, left := h.holders(key, false)
			h.timeLeft(c.name, left[0], c.ttl)
			h.unlock(key, "next")
		}
		h.lock(key, "old", short)
		h.isHandedOver(lockOf("next", long, key), "old")
		h.pass()
		h.holds(key, "next")
	}},
	{"AllOrNone", func(h *harness) {
		next := h.several("next", long, "a", "b", "c")
		h.is("Lock", h.take(h.several("old", long, "a", "b")), true)
		h.isNotHandedOver(next, "old")
		h.is("Lock of the rest by another", h.take(h.several("other", long, "c")), true)
		h.isNotHandedOver(next, "old")
		h.allHold("old", "a", "b")
		h.allHold("other", "c")
		h.isHandedOver(h.several("next", long, "b", "a"), "old")
		h.allHold("next", "a", "b")
		h.allHold("other", "c")
		h.isHandedOver(h.several("another", long, "a"), "next")
		h.allHold("another", "a")
		h.allHold("next", "b")
	}},
	{"TellsNobody", func(h *harness) {
		store := h.open()
		h.is("Lock", h.take(h.several("old", long, "k", "l")), true)
		quiet := h.hears(store, h.tags("k")[0], func() { h.isHandedOver(h.several("next", long, "k", "l"), "old") })
		h.is("a watcher's notification of a hand-over", quiet, false)
	}},
	{"NeverFree", neverFree},
}

func (h *harness) isHandedOver(c cachify.Claim, from string) {
	h.Helper()
	_, ok := h.takeFrom(c, from)
	h.is(fmt.Sprintf("Lock by %q from %q, who holds it,", c.Token, from), ok, true)
}

func (h *harness) isNotHandedOver(c cachify.Claim, from string) {
	h.Helper()
	_, ok := h.takeFrom(c, from)
	h.is(fmt.Sprintf("Lock by %q from %q, who does not hold it,", c.Token, from), ok, false)
}

// hears says whether a watcher of key is told while do is done. Notifications come in order, so one of a later change that
// has come tells that there are none to wait for.
func (h *harness) hears(store cachify.Store, key string, do func()) bool {
	h.Helper()
	later := h.tags("later")[0]
	ch, stop := h.watching(store, key)
	defer stop()
	laterCh, stopLater := h.watching(store, later)
	defer stopLater()
	drain(ch)
	do()
	h.set(later, "value", long)
	h.receives("a later change", laterCh)
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// neverFree hands a lock on many times while others try to take it: they find it locked at all times.
func neverFree(h *harness) {
	const times = 100
	store, key := h.open(), h.tags("k")[0]
	var over atomic.Bool
	h.is("Lock", h.lock(key, "0", long), true)
	h.each(3, func(i int) error {
		if i == 0 {
			defer over.Store(true)
			for n := range times {
				_, ok, err := h.store.Lock(h.Context(), lockOf(fmt.Sprint(n+1), long, key), fmt.Sprint(n))
				if err != nil || !ok {
					return fmt.Errorf("hand-over %d gave %t, %v", n, ok, err)
				}
			}
			return nil
		}
		for !over.Load() {
			_, ok, err := store.Lock(h.Context(), lockOf(fmt.Sprint("thief ", i), long, key), "")
			if err != nil || ok {
				return fmt.Errorf("a Lock during hand-overs gave %t, %v", ok, err)
			}
			time.Sleep(50 * time.Microsecond)
		}
		return nil
	})
	h.holds(key, fmt.Sprint(times))
}
