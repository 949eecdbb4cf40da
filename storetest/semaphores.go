package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

var semaphores = []test{
	{"AdmitsSlots", func(h *harness) {
		for _, size := range []int{1, 2, 3, 100} {
			key := h.key(fmt.Sprint("sem", size))
			h.heldBy(key, true)
			var in []string
			for i := range size {
				in = append(in, fmt.Sprint("token", i))
				h.is(fmt.Sprintf("Lock of slot %d of %d", i, size), h.take(slotOf(size, in[i], long, key)), true)
			}
			h.heldBy(key, true, in...)
			h.is(fmt.Sprintf("Lock of one slot more than %d", size), h.take(slotOf(size, "one more", long, key)), false)
			h.heldBy(key, true, in...)
			h.is("Unlock", h.giveBack(slotOf(size, "token0", long, key)), true)
			h.is("Lock of a slot that was given back", h.take(slotOf(size, "one more", long, key)), true)
			h.is("Lock after that", h.take(slotOf(size, "token0", long, key)), false)
		}
	}},
	{"RepeatedLock", func(h *harness) {
		key := h.key("sem")
		for range 3 {
			h.is("Lock", h.take(slotOf(2, "mine", long, key)), true)
			h.heldBy(key, true, "mine")
		}
		h.is("Lock by another", h.take(slotOf(2, "yours", long, key)), true)
		h.is("repeated Lock when it is full", h.take(slotOf(2, "mine", long, key)), true)
		h.is("Lock by a third", h.take(slotOf(2, "third", long, key)), false)
		h.is("Unlock", h.giveBack(slotOf(2, "mine", long, key)), true)
		h.heldBy(key, true, "yours")
	}},
	{"Ownership", func(h *harness) {
		key := h.key("sem")
		h.is("Extend of nothing", h.extendSlot(key, "token-1", long), false)
		h.is("Unlock of nothing", h.giveBack(slotOf(2, "token-1", long, key)), false)
		h.heldBy(key, true)
		h.is("Lock", h.take(slotOf(2, "token-1", long, key)), true)
		for _, other := range notToken1 {
			h.is("Extend with "+other, h.extendSlot(key, other, long), false)
			h.is("Unlock with "+other, h.giveBack(slotOf(2, other, long, key)), false)
		}
		h.heldBy(key, true, "token-1")
		h.is("Extend", h.extendSlot(key, "token-1", long), true)
		h.is("Unlock", h.giveBack(slotOf(2, "token-1", long, key)), true)
		h.is("Unlock once more", h.giveBack(slotOf(2, "token-1", long, key)), false)
		h.is("Extend after Unlock", h.extendSlot(key, "token-1", long), false)
		h.heldBy(key, true)
	}},
	{"AnyToken", func(h *harness) {
		key, tokens := h.key("sem"), awkwardTokens()
		for _, token := range tokens {
			h.is("Lock", h.take(slotOf(len(tokens), token, long, key)), true)
			h.is("Extend", h.prolong(slotOf(len(tokens), token, long, key))[0], true)
		}
		h.heldBy(key, true, tokens...)
		for _, token := range tokens {
			h.is("Unlock", h.giveBack(slotOf(len(tokens), token, long, key)), true)
		}
		h.heldBy(key, true)
	}},
	{"AnyKey", func(h *harness) {
		for i, name := range awkward() {
			if len(name) <= 1<<10 {
				h.is("Lock", h.take(slotOf(1, fmt.Sprint(i), long, h.key(name))), true)
				h.heldBy(h.key(name), true, fmt.Sprint(i))
			}
		}
	}},
	{"DifferentSlots", func(h *harness) {
		key := h.key("sem")
		h.is("Lock of one of 3", h.take(slotOf(3, "a", long, key)), true)
		h.is("Lock of one of 1", h.take(slotOf(1, "b", long, key)), false)
		h.is("Lock of one of 2", h.take(slotOf(2, "b", long, key)), true)
		h.is("Lock of one of 3", h.take(slotOf(3, "c", long, key)), true)
		h.is("Lock of one of 3 that are taken", h.take(slotOf(3, "d", long, key)), false)
		h.is("Lock of one of 4", h.take(slotOf(4, "d", long, key)), true)
		h.is("repeated Lock of one of 1", h.take(slotOf(1, "a", long, key)), true)
		h.is("Extend of one of 1", h.prolong(slotOf(1, "b", long, key))[0], true)
		h.is("Unlock of one of 1", h.giveBack(slotOf(1, "c", long, key)), true)
		h.is("Lock of one of 3 where 3 are left", h.take(slotOf(3, "e", long, key)), false)
		h.heldBy(key, true, "a", "b", "d")
	}},
	{"Expiry", func(h *harness) {
		key := h.key("sem")
		h.is("Lock", h.take(slotOf(2, "long", long, key)), true)
		h.ends(short, func() {
			h.is("Lock", h.take(slotOf(2, "short", short, key)), true)
			h.is("Lock when it is full", h.take(slotOf(2, "next", long, key)), false)
		}, func() bool { return !h.take(slotOf(2, "next", long, key)) })
		h.heldBy(key, true, "long", "next")
		h.is("Extend of an expired slot", h.extendSlot(key, "short", long), false)
		h.is("Unlock of an expired slot", h.giveBack(slotOf(2, "short", long, key)), false)
		h.heldBy(key, true, "long", "next")
	}},
	{"ExpiredHolder", func(h *harness) {
		// Nobody else comes between: the store has to look at the clock in each of these calls.
		names := []string{"extend", "unlock", "hand over", "holders"}
		for _, name := range names {
			h.is("Lock", h.take(slotOf(2, "long", long, h.key(name))), true)
			h.is("Lock", h.take(slotOf(2, "short", short, h.key(name))), true)
		}
		h.pass()
		h.is("Extend of an expired slot", h.extendSlot(h.key("extend"), "short", long), false)
		h.is("Unlock of an expired slot", h.giveBack(slotOf(2, "short", long, h.key("unlock"))), false)
		h.isNotHandedOver(slotOf(2, "next", long, h.key("hand over")), "short")
		for _, name := range names {
			h.heldBy(h.key(name), true, "long")
		}
	}},
	{"LastHolderExpires", func(h *harness) {
		key := h.key("sem")
		h.ends(short, func() { h.take(slotOf(1, "mine", short, key)) }, func() bool { tokens, _ := h.holders(key, true); return len(tokens) > 0 })
		h.is("Extend of an expired slot", h.extendSlot(key, "mine", long), false)
		h.is("Lock by another", h.take(slotOf(1, "yours", long, key)), true)
	}},
	{"NewTTL", newSlotTTL},
	{"RefusedLeavesTTL", func(h *harness) {
		key := h.key("sem")
		h.ends(short, func() {
			h.is("Lock", h.take(slotOf(1, "mine", short, key)), true)
			h.is("Lock by another", h.take(slotOf(1, "yours", long, key)), false)
			h.is("Extend by another", h.extendSlot(key, "yours", long), false)
			h.is("Unlock by another", h.giveBack(slotOf(1, "yours", long, key)), false)
			h.isNotHandedOver(slotOf(1, "yours", long, key), "third")
		}, func() bool { tokens, _ := h.holders(key, true); return len(tokens) > 0 })
	}},
	{"RoundedUp", func(h *harness) {
		for _, ttl := range []time.Duration{1, 500 * time.Microsecond, 1500 * time.Microsecond} {
			key := h.key(ttl.String())
			h.is("Lock", h.take(slotOf(1, "mine", ttl, key)), true)
			h.eventually("the end of a ttl of "+ttl.String(), func() bool { return h.take(slotOf(1, "yours", ttl, key)) })
		}
	}},
	{"Holders", func(h *harness) {
		key := h.key("sem")
		for _, c := range lifetimes {
			h.is("Lock", h.take(slotOf(9, c.name, c.ttl, key)), true)
		}
		tokens, left := h.holders(key, true)
		for i, token := range tokens {
			for _, c := range lifetimes {
				if c.name == token {
					h.timeLeft(c.name, left[i], c.ttl)
				}
			}
		}
		h.is("Holders of all", len(tokens) == len(lifetimes), true)
	}},
	{"Apart", func(h *harness) {
		h.is("Lock", h.take(slotOf(1, "mine", long, h.key("a"))), true)
		h.is("Lock of another semaphore", h.take(slotOf(1, "mine", long, h.key("b"))), true)
		h.is("Unlock", h.giveBack(slotOf(1, "mine", long, h.key("a"))), true)
		h.heldBy(h.key("a"), true)
		h.heldBy(h.key("b"), true, "mine")
	}},
	{"Handover", slotHandover},
	{"TwoKinds", twoKinds},
	{"NeverTooMany", neverTooMany},
	{"AsManyWinners", func(h *harness) {
		const racers, size = 12, 5
		stores, won := []cachify.Store{h.store, h.open()}, atomic.Int32{}
		h.each(racers, func(i int) error {
			_, ok, err := stores[i%2].Lock(h.Context(), slotOf(size, fmt.Sprint("token of ", i), long, h.key("sem")), "")
			if ok {
				won.Add(1)
			}
			return err
		})
		if won.Load() != size {
			h.Errorf("%d of %d got one of %d slots", won.Load(), racers, size)
		}
	}},
}

func (h *harness) extendSlot(key, token string, ttl time.Duration) bool {
	h.Helper()
	return h.prolong(slotOf(2, token, ttl, key))[0]
}

// newSlotTTL sets the time of a slot that is held already, in each way there is. Only a hand-over makes it shorter.
func newSlotTTL(h *harness) {
	longer := [][2]time.Duration{{short, long}, {short, cachify.NoExpiry}, {short, 100 * 365 * 24 * long}}
	shorter := [][2]time.Duration{{long, short}, {cachify.NoExpiry, short}, {cachify.NoExpiry, long}}
	ways := []struct {
		name  string
		turns [][2]time.Duration
		set   func(key string, ttl time.Duration)
	}{
		{"Extend", longer, func(key string, ttl time.Duration) { h.is("Extend", h.extendSlot(key, "mine", ttl), true) }},
		{"repeated Lock", longer, func(key string, ttl time.Duration) { h.is("Lock", h.take(slotOf(2, "mine", ttl, key)), true) }},
		{"hand-over", append(longer, shorter...), func(key string, ttl time.Duration) { h.isHandedOver(slotOf(2, "next", ttl, key), "mine") }},
	}
	for _, way := range ways {
		for _, turn := range way.turns {
			key := h.key(fmt.Sprint(way.name, turn))
			h.is("Lock", h.take(slotOf(2, "mine", turn[0], key)), true)
			h.is("Lock", h.take(slotOf(2, "beside it", long, key)), true)
			way.set(key, turn[1])
		}
	}
	h.pass()
	for _, way := range ways {
		for _, turn := range way.turns {
			tokens, _ := h.holders(h.key(fmt.Sprint(way.name, turn)), true)
			if want := 2; turn[1] == short && len(tokens) != want-1 || turn[1] != short && len(tokens) != want {
				h.Errorf("%s from %v to %v: after %v the holders are %q", way.name, turn[0], turn[1], short, tokens)
			}
		}
	}
}

func slotHandover(h *harness) {
	key, store := h.tags("sem")[0], h.open()
	h.isNotHandedOver(slotOf(2, "next", long, key), "token-1")
	h.heldBy(key, true)
	h.is("Lock", h.take(slotOf(2, "token-1", long, key)), true)
	for _, other := range notToken1 {
		h.isNotHandedOver(slotOf(2, "next", long, key), other)
	}
	h.is("Lock", h.take(slotOf(2, "beside it", long, key)), true)
	heard := h.hears(store, key, func() {
		for range 3 {
			h.isHandedOver(slotOf(2, "next", long, key), "token-1")
		}
	})
	h.is("a watcher's notification of a hand-over", heard, false)
	h.heldBy(key, true, "next", "beside it")
	h.is("Lock by a third", h.take(slotOf(2, "third", long, key)), false)
	h.is("Extend by the old holder", h.extendSlot(key, "token-1", long), false)
	h.is("Unlock by the old holder", h.giveBack(slotOf(2, "token-1", long, key)), false)
	h.isNotHandedOver(slotOf(2, "third", long, key), "token-1")
	h.isHandedOver(slotOf(1, "last", long, key), "next")
	h.heldBy(key, true, "last", "beside it")
}

// twoKinds uses one key for a lock and for a semaphore. Nobody should, and a store may refuse it, give an error or keep the two
// apart; but who does it must not take anything from the holders.
func twoKinds(h *harness) {
	sem, key := h.key("sem"), h.key("lock")
	h.is("Lock", h.take(slotOf(2, "slot", long, sem)), true)
	h.is("Lock", h.lock(key, "lock", long), true)
	for _, token := range []string{"other", "slot", "lock"} {
		for _, c := range []cachify.Claim{lockOf(token, long, sem), slotOf(2, token, long, key)} {
			for _, from := range []string{"", "slot", "lock"} {
				_, _, _ = h.store.Lock(h.Context(), c, from)
				_, _ = h.store.Extend(h.Context(), []cachify.Claim{c})
				_, _ = h.store.Unlock(h.Context(), c)
				h.heldBy(sem, true, "slot")
				h.heldBy(key, false, "lock")
			}
		}
	}
}

// neverTooMany lets clients of two stores wait for the slots of one semaphore.
func neverTooMany(h *harness) {
	const holders, times, size = 8, 8, 3
	stores := []cachify.Store{h.store, h.open()}
	var inside, tooMany atomic.Int32
	h.each(holders, func(i int) error {
		c := slotOf(size, fmt.Sprint("token of ", i), long, h.key("sem"))
		for range times {
			if err := h.await(stores[i%2], c); err != nil {
				return err
			}
			if inside.Add(1) > size {
				tooMany.Add(1)
			}
			time.Sleep(100 * time.Microsecond)
			inside.Add(-1)
			if ok, err := stores[i%2].Unlock(h.Context(), c); err != nil || !ok {
				return fmt.Errorf("the holder's Unlock gave %t, %v", ok, err)
			}
		}
		return nil
	})
	if tooMany.Load() != 0 {
		h.Errorf("%d times more than %d held a slot", tooMany.Load(), size)
	}
	h.heldBy(h.key("sem"), true)
}
