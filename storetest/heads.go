package storetest

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// conditions are the cases of "where head allows it".
var conditions = []struct {
	name    string
	present any // nil: absent
	head    string
	allowed bool
}{
	{"no head", "abc-1", "", true},
	{"no head, empty value", "", "", true},
	{"beginning", "abc-1", "abc", true},
	{"whole value", "abc-1", "abc-1", true},
	{"another", "abc-1", "abd", false},
	{"in the middle", "abc-1", "bc", false},
	{"longer than the value", "abc-1", "abc-12", false},
	{"longer than the empty value", "", "a", false},
	{"other case", "abc-1", "ABC", false},
	{"absent", nil, "abc", false},
	{"zero byte", "\x00\x01value", "\x00\x01", true},
	{"another after a zero byte", "\x00\x01value", "\x00\x02", false},
	{"zero byte after the end", "ab", "ab\x00", false},
	{"looks like a pattern", "abc-1", "...", false},
	{"looks like another pattern", "abc-1", "%w+", false},
	{"is no pattern", "%w+value", "%w+", true},
	{"looks like a glob", "abc-1", "a*", false},
	{"looks like a number", "0123", "123", false},
	{"high bytes", "\xff\xfe\xfdvalue", "\xff\xfe\xfd", true},
}

var heads = []test{
	{"Set", func(h *harness) {
		for i, c := range conditions {
			key := h.given(i, c.present)
			if done := h.setIf(c.head, key, "new", long); done != c.allowed {
				h.Errorf("%s: Set over %q with head %q: done is %t", c.name, c.present, c.head, done)
			}
			h.holdsNow(c.allowed, key, "new", c.present)
		}
	}},
	{"Delete", func(h *harness) {
		for i, c := range conditions {
			key := h.given(i, c.present)
			if done := h.deleteIf(c.head, key); done != c.allowed {
				h.Errorf("%s: Delete of %q with head %q: done is %t", c.name, c.present, c.head, done)
			}
			h.holdsNow(c.allowed, key, nil, c.present)
		}
	}},
	{"Expire", func(h *harness) {
		for i, c := range conditions {
			key := h.given(i, c.present)
			if done := h.expireIf(c.head, 2*long, key); done != c.allowed {
				h.Errorf("%s: Expire of %q with head %q: done is %t", c.name, c.present, c.head, done)
			}
			h.holds(key, c.present)
		}
	}},
	{"Absent", func(h *harness) {
		key := h.key("k")
		if h.expireIf("", long, key) {
			h.Error("Expire of an absent key was done")
		}
		if h.deleteIf("", key) {
			h.Error("Delete of an absent key was done")
		}
		h.holds(key, nil)
		h.set(key, "value", long)
		h.holds(key, "value")
	}},
	{"EmptyHead", func(h *harness) {
		for i, head := range [][]byte{nil, {}} {
			key := h.key(fmt.Sprint(i))
			for _, before := range []string{"nothing", "a value"} {
				done, _, err := h.store.Set(h.Context(), head, []string{key}, [][]byte{[]byte("value")}, []time.Duration{long}, nil)
				h.noError("Set", err)
				h.is("Set over "+before, done[0], true)
				h.holds(key, "value")
			}
			done, err := h.store.Expire(h.Context(), head, 2*long, []string{key})
			h.noError("Expire", err)
			h.is("Expire", done[0], true)
			for _, there := range []bool{true, false} {
				done, err := h.store.Delete(h.Context(), head, []string{key})
				h.noError("Delete", err)
				h.is("Delete", done[0], there)
				h.holds(key, nil)
			}
			done, err = h.store.Expire(h.Context(), head, long, []string{key})
			h.noError("Expire", err)
			h.is("Expire of nothing", done[0], false)
			h.holds(key, nil)
		}
	}},
	{"OverALease", func(h *harness) {
		key := h.key("k")
		h.lease("lease-1", long, key)
		if h.setIf("lease-2", key, "id-2", long) {
			h.Error("Set with the head of a lease that is not there was done")
		}
		h.holds(key, "lease-1")
		if !h.setIf("lease-1", key, "id-1", long) {
			h.Error("Set with the head of the lease was not done")
		}
		h.holds(key, "id-1")
	}},
	{"RepeatedSet", repeatedSet},
	{"OneOfManySets", func(h *harness) {
		h.oneWins(func(i int, key string) (bool, error) {
			done, _, err := h.store.Set(h.Context(), []byte("lease"), []string{key}, [][]byte{fmt.Appendf(nil, "%05d", i)}, []time.Duration{long}, nil)
			return err == nil && done[0], err
		})
	}},
	{"OneOfManyDeletes", func(h *harness) {
		h.oneWins(func(_ int, key string) (bool, error) {
			done, err := h.store.Delete(h.Context(), []byte("lease"), []string{key})
			return err == nil && done[0], err
		})
	}},
	{"SetOrDelete", func(h *harness) {
		h.oneWins(func(i int, key string) (bool, error) {
			if i%2 == 0 {
				done, err := h.store.Delete(h.Context(), []byte("lease"), []string{key})
				return err == nil && done[0], err
			}
			done, _, err := h.store.Set(h.Context(), []byte("lease"), []string{key}, [][]byte{fmt.Appendf(nil, "%05d", i)}, []time.Duration{long}, nil)
			return err == nil && done[0], err
		})
	}},
}

// given sets up the key of case i.
func (h *harness) given(i int, present any) string {
	h.Helper()
	key := h.key(fmt.Sprint("case", i))
	if value, ok := present.(string); ok {
		h.set(key, value, long)
	}
	return key
}

func (h *harness) holdsNow(allowed bool, key string, after, before any) {
	h.Helper()
	if allowed {
		h.holds(key, after)
	} else {
		h.holds(key, before)
	}
}

// repeatedSet makes the same attempt again, as after a lost reply. The value begins with an id of its
// own, as long as the head, by which the second attempt knows the first one's work.
func repeatedSet(h *harness) {
	key := h.key("k")
	h.lease("lease-1", long, key)
	for attempt := range 3 {
		if !h.setIf("lease-1", key, "value-1 and more", long) {
			h.Errorf("attempt %d was not done", attempt)
		}
		h.holds(key, "value-1 and more")
	}
	h.set(key, "value-2 and more", long)
	if h.setIf("lease-1", key, "value-1 and more", long) {
		h.Error("an attempt that came after somebody else's value was done")
	}
	h.holds(key, "value-2 and more")
	h.deleteIf("", key)
	if h.setIf("lease-1", key, "value-1 and more", long) {
		h.Error("an attempt that came after a Delete was done")
	}
	h.holds(key, nil)
}

// oneWins races for keys that hold a lease: what takes it away can happen only once.
func (h *harness) oneWins(take func(i int, key string) (bool, error)) {
	h.Helper()
	const keys, racers = 20, 8
	var names []string
	for i := range keys {
		names = append(names, h.key(fmt.Sprint("race", i)))
	}
	h.lease("lease", long, names...)
	var wins [keys]atomic.Int32
	h.each(racers, func(i int) error {
		var errs []error
		for k, name := range names {
			won, err := take(i, name)
			if won {
				wins[k].Add(1)
			}
			errs = append(errs, err)
		}
		return errors.Join(errs...)
	})
	for k := range wins {
		if n := wins[k].Load(); n != 1 {
			h.Errorf("%d of %d won the race for key %d, want 1", n, racers, k)
		}
	}
}
