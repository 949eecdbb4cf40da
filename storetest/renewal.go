package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-cachify/cachify"
)

// The tests in this file extend many claims at once, as a client does that renews all it holds.

var renewal = []test{
	{"Nothing", func(h *harness) {
		if done := h.prolong(); len(done) != 0 {
			h.Errorf("Extend of nothing gave %v", done)
		}
	}},
	{"Many", manyExtended},
	{"ItsOwnTTLForEach", func(h *harness) {
		var claims []cachify.Claim
		for _, c := range lifetimes {
			claims = append(claims, lockOf("mine", c.ttl, h.key("lock "+c.name)), slotOf(1, "mine", c.ttl, h.key("sem "+c.name)))
		}
		for _, c := range claims {
			c.TTL = short
			h.is("Lock", h.take(c), true)
		}
		h.allDone(h.prolong(claims...))
		for i, c := range claims {
			_, left := h.holders(c.Keys[0], c.Slots > 0)
			h.timeLeft(c.Keys[0], left[0], lifetimes[i/2].ttl)
		}
	}},
	{"NeverShorter", func(h *harness) {
		// Nor where an attempt arrives late, which was sent when the time to live was shorter.
		var claims []cachify.Claim
		for _, ttl := range []time.Duration{long, cachify.NoExpiry} {
			name := ttl.String()
			claims = append(claims, lockOf("mine", ttl, h.key("lock "+name)), slotOf(2, "mine", ttl, h.key("sem "+name)), h.several("mine", ttl, "a "+name, "b "+name))
		}
		for _, c := range claims {
			h.is("Lock", h.take(c), true)
		}
		for _, ttl := range []time.Duration{short, time.Minute, 1} {
			shorter := slices.Clone(claims)
			for i := range shorter {
				shorter[i].TTL = ttl
			}
			h.allDone(h.prolong(shorter...))
		}
		for _, c := range claims {
			for _, key := range c.Keys {
				_, left := h.holders(key, c.Slots > 0)
				h.timeLeft(key, left[0], c.TTL)
			}
		}
		h.pass()
		h.allDone(h.prolong(claims...))
	}},
	{"Twice", func(h *harness) {
		lock, slot := lockOf("mine", long, h.key("lock")), slotOf(1, "mine", long, h.key("sem"))
		h.is("Lock", h.take(lock), true)
		h.is("Lock", h.take(slot), true)
		h.allDone(h.prolong(lock, slot, slot, lock))
	}},
	{"AKeyOfAnotherKind", func(h *harness) {
		// Whether that is refused or an error, it is of no concern to the others.
		lock, slot := lockOf("mine", long, h.key("lock")), slotOf(1, "mine", long, h.key("sem"))
		h.is("Lock", h.take(lock), true)
		h.is("Lock", h.take(slot), true)
		done, errs := h.store.Extend(h.Context(), []cachify.Claim{lock, lockOf("mine", long, slot.Keys[0]), slot, slotOf(1, "mine", long, lock.Keys[0]), lock})
		if len(done) != 5 || !done[0] || !done[2] || !done[4] {
			h.Errorf("Extend gave %v, want true for the first, the third and the last", done)
		}
		if errs != nil && (len(errs) != len(done) || errs[0] != nil || errs[2] != nil || errs[4] != nil) {
			h.Errorf("Extend gave errors %v", errs)
		}
	}},
}

func (h *harness) allDone(done []bool) {
	h.Helper()
	if slices.Contains(done, false) {
		h.Errorf("Extend gave %v, want true for all", done)
	}
}

// manyExtended extends 300 claims of all kinds, of which some are lost.
func manyExtended(h *harness) {
	const n = 300
	claims, want := make([]cachify.Claim, n), make([]bool, n)
	for i := range n {
		name := fmt.Sprint("claim", i)
		token := "token of " + name
		switch i % 3 {
		case 0:
			claims[i] = lockOf(token, short, h.key(name))
		case 1:
			claims[i] = slotOf(2, token, short, h.key(name))
			h.is("Lock of the other slot", h.take(slotOf(2, "other", long, h.key(name))), true)
		case 2:
			claims[i] = h.several(token, short, name+"a", name+"b")
		}
		claims[i].TTL = 2 * patient
		h.is("Lock", h.take(claims[i]), true)
		claims[i].TTL = long
		switch i % 7 {
		case 0:
			h.giveBack(claims[i])
		case 1:
			lost := claims[i]
			lost.Keys = lost.Keys[len(lost.Keys)-1:] // one of several, or all there is
			h.giveBack(lost)
		case 2:
			other := claims[i]
			other.Token = "another"
			h.isHandedOver(other, token)
		default:
			want[i] = true
		}
	}
	if done := h.prolong(claims...); !slices.Equal(done, want) {
		h.Errorf("Extend gave %v, want %v", done, want)
	}
	for i, c := range claims {
		for _, key := range c.Keys {
			tokens, left := h.holders(key, c.Slots > 0)
			at := slices.Index(tokens, c.Token)
			if want[i] && (at < 0 || left[at] < long-patient || left[at] > long+time.Millisecond) {
				h.Fatalf("claim %d was extended, its holders are %q with %v left", i, tokens, left)
			}
			if !want[i] && at >= 0 && left[at] > 2*patient+time.Millisecond {
				h.Fatalf("claim %d is lost, its holders are %q with %v left", i, tokens, left)
			}
		}
	}
}
