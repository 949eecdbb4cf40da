package storetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/go-cachify/cachify"
)

var leases = []test{
	{"AbsentIsTaken", func(h *harness) {
		key := h.key("k")
		if got := h.lease("lease-1", long, key)[0]; got != nil {
			h.Errorf("the first Lease gave %q, want nil", got)
		}
		h.holds(key, "lease-1")
		if got := h.lease("lease-2", long, key)[0]; string(got) != "lease-1" {
			h.Errorf("the second Lease gave %q, want the first lease", got)
		}
		h.holds(key, "lease-1")
		h.deleteIf("lease-1", key)
		if got := h.lease("lease-3", long, key)[0]; got != nil {
			h.Errorf("a Lease after Delete gave %q, want nil", got)
		}
		h.holds(key, "lease-3")
	}},
	{"PresentIsRead", func(h *harness) {
		h.set(h.key("value"), "value", long)
		h.set(h.key("empty"), "", long)
		h.lock(h.key("lock"), "token", long)
		got := h.lease("lease", long, h.keys("absent-1", "value", "empty", "absent-2", "lock")...)
		if got[0] != nil || string(got[1]) != "value" || got[2] == nil || len(got[2]) != 0 || got[3] != nil || string(got[4]) != "token" {
			h.Errorf("Lease gave %q", got)
		}
		h.holds(h.key("absent-1"), "lease")
		h.holds(h.key("value"), "value")
		h.holds(h.key("empty"), "")
		h.holds(h.key("absent-2"), "lease")
		h.holds(h.key("lock"), "token")
	}},
	{"ReadsTags", func(h *harness) {
		tags := h.tags("first", "second", "absent")
		stamp := h.advance(long, tags[:2]...)
		_, got, err := h.store.Lease(h.Context(), []byte("lease"), long, h.keys("k"), tags, nil)
		h.noError("Lease", err)
		if !slices.Equal(got, []int64{stamp, stamp, 0}) {
			h.Errorf("Lease gave stamps %d, want %d", got, []int64{stamp, stamp, 0})
		}
		if got := h.stamps(tags[2]); got[0] != 0 {
			h.Errorf("Lease has created the tag it was to read: %d", got)
		}
	}},
	{"ManyKeys", func(h *harness) {
		const n = 300
		var keys []string
		for i := range n {
			keys = append(keys, h.key(fmt.Sprint(i)))
			if i%3 == 0 {
				h.set(keys[i], fmt.Sprint("value", i), long)
			}
		}
		for i, got := range h.lease("lease", long, keys...) {
			if want := fmt.Sprint("value", i); i%3 == 0 && string(got) != want || i%3 != 0 && got != nil {
				h.Fatalf("value %d of many is %q, want %q if it divides by 3, else nothing", i, got, want)
			}
		}
	}},
	{"OneWinner", func(h *harness) { leaseRace(h, 40, 1) }},
	{"OneWinnerForEachKey", func(h *harness) { leaseRace(h, 40, 4) }},
}

// leaseRace lets clients of two stores lease the same keys, several in a call and each in an order of
// its own. Each key must have one winner, and the others must see the winner's lease.
func leaseRace(h *harness, keys, batch int) {
	const racers = 8
	stores := []cachify.Store{h.store, h.open()}
	var mu sync.Mutex
	winners := make(map[string][]string)
	seen := make(map[string][]string)
	h.each(racers, func(i int) error {
		var names []string
		for k := range keys {
			names = append(names, h.key(fmt.Sprint(k)))
		}
		if i%4 >= 2 {
			slices.Reverse(names)
		}
		lease := fmt.Sprint("lease of ", i)
		for names := range slices.Chunk(names, batch) {
			values, _, err := stores[i%2].Lease(h.Context(), []byte(lease), long, names, nil, nil)
			if err != nil {
				return err
			}
			mu.Lock()
			for j, value := range values {
				if value == nil {
					winners[names[j]] = append(winners[names[j]], lease)
				} else {
					seen[names[j]] = append(seen[names[j]], string(value))
				}
			}
			mu.Unlock()
		}
		return nil
	})
	if len(winners) != keys {
		h.Errorf("%d of %d keys were leased", len(winners), keys)
	}
	for key, leases := range winners {
		if len(leases) != 1 {
			h.Errorf("%q was leased %d times, want once: %q", key, len(leases), leases)
		}
		for _, other := range seen[key] {
			if other != leases[0] {
				h.Errorf("%q: a caller saw %q, but the winner is %q", key, other, leases[0])
			}
		}
	}
}
