package storetest

import (
	"slices"
	"time"

	"github.com/go-cachify/cachify"
)

// A life is one of the ways in which a key gets its time to live.
type life struct {
	name  string
	start func(h *harness, key string, ttl time.Duration)
}

var lives = []life{
	{"Set", func(h *harness, key string, ttl time.Duration) { h.set(key, "value", ttl) }},
	{"Lease", func(h *harness, key string, ttl time.Duration) {
		if got := h.lease("lease", ttl, key)[0]; got != nil {
			h.Errorf("Lease for %v gave %q, want nil", ttl, got)
		}
	}},
	{"Lock", func(h *harness, key string, ttl time.Duration) { h.is("Lock", h.lock(key, "token", ttl), true) }},
	{"Expire", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", long)
		h.is("Expire", h.expireIf("", ttl, key), true)
	}},
	{"ExpireOfALease", func(h *harness, key string, ttl time.Duration) {
		h.lease("lease", long, key)
		h.is("Expire", h.expireIf("lease", ttl, key), true)
	}},
	{"ExpireOfNoExpiry", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", cachify.NoExpiry)
		h.is("Expire", h.expireIf("val", ttl, key), true)
	}},
	{"Extend", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "token", short), true)
		h.is("Extend", h.extend(key, "token", ttl), true)
	}},
	{"RepeatedLock", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "token", ttl), true)
		h.is("Lock", h.lock(key, "token", ttl), true)
	}},
	{"Handover", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "old", long), true)
		h.isHandedOver(lockOf("token", ttl, key), "old")
	}},
	{"SetAgain", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", long)
		h.set(key, "value", ttl)
	}},
	{"SetOverALease", func(h *harness, key string, ttl time.Duration) {
		h.lease("lease", long, key)
		h.is("Set", h.setIf("lease", key, "value", ttl), true)
	}},
	{"SetOverNoExpiry", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", cachify.NoExpiry)
		h.set(key, "value", ttl)
	}},
}

// refusals do nothing to a key, so they must not touch its time to live either.
var refusals = []life{
	{"Expire", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", ttl)
		h.is("Expire", h.expireIf("other", long, key), false)
	}},
	{"Set", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", ttl)
		h.is("Set", h.setIf("other", key, "another", long), false)
	}},
	{"Lease", func(h *harness, key string, ttl time.Duration) {
		h.set(key, "value", ttl)
		h.lease("lease", long, key)
	}},
	{"Lock", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "mine", ttl), true)
		h.is("Lock", h.lock(key, "yours", long), false)
	}},
	{"Handover", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "mine", ttl), true)
		h.isNotHandedOver(lockOf("yours", long, key), "third")
	}},
	{"Fence", func(h *harness, key string, ttl time.Duration) {
		c := lockOf("mine", ttl, key)
		c.Fences = []string{"{" + key + "}:fence"}
		h.is("Lock", h.take(c), true)
		c.TTL, c.Token = long, "yours"
		h.hasNoFence("another's lock", c)
	}},
	{"Extend", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "mine", ttl), true)
		h.is("Extend", h.extend(key, "yours", long), false)
	}},
	{"Unlock", func(h *harness, key string, ttl time.Duration) {
		h.is("Lock", h.lock(key, "mine", ttl), true)
		h.is("Unlock", h.unlock(key, "yours"), false)
	}},
}

var expiry = expiryTests()

func expiryTests() []test {
	tests := []test{
		{"ItsOwnForEachKey", ownTTLs},
		{"ExpiredIsAbsent", expiredIsAbsent},
		{"Longer", longer},
		{"NoExpiry", noExpiry},
		{"HundredYears", hundredYears},
		{"Ends", func(h *harness) { endOfAll(h, lives) }},
		{"LeftAloneByRefusals", func(h *harness) { endOfAll(h, refusals) }},
	}
	for _, l := range lives {
		tests = append(tests, test{"RoundedUpIn" + l.name, func(h *harness) {
			// Rounded down, these would be no ttl or an error.
			for _, ttl := range []time.Duration{1, 500 * time.Microsecond, 1500 * time.Microsecond} {
				key := h.key(ttl.String())
				l.start(h, key, ttl)
				h.eventually("the end of a ttl of "+ttl.String(), func() bool { return !h.exists(key) })
			}
		}})
	}
	return tests
}

// endOfAll checks that each key is there for its ttl, and no longer. They all live at the same time, so the test takes no longer than one.
func endOfAll(h *harness, lives []life) {
	keys, began, lived := make([]string, len(lives)), make([]time.Time, len(lives)), make([]time.Duration, len(lives))
	for i, l := range lives {
		keys[i], began[i] = h.key(l.name), time.Now()
		l.start(h, keys[i], short)
	}
	for over := time.Now().Add(patient); slices.Contains(lived, 0) && time.Now().Before(over); time.Sleep(2 * time.Millisecond) {
		for i, value := range h.get(keys...) {
			if value == nil && lived[i] == 0 {
				lived[i] = time.Since(began[i])
			}
		}
	}
	for i, l := range lives {
		switch {
		case lived[i] == 0:
			h.Errorf("%s: a ttl of %v has not ended within %v", l.name, short, patient)
		case lived[i] < short-slack:
			h.Errorf("%s: ended after %v, before its ttl of %v", l.name, lived[i], short)
		}
	}
}

func ownTTLs(h *harness) {
	keys, value := h.keys("short", "long", "for ever"), []byte("value")
	h.ends(short, func() {
		_, _, err := h.store.Set(h.Context(), nil, keys, [][]byte{value, value, value}, []time.Duration{short, long, cachify.NoExpiry}, nil)
		h.noError("Set", err)
	}, func() bool { return h.exists(keys[0]) })
	h.holds(keys[1], "value")
	h.holds(keys[2], "value")
}

func expiredIsAbsent(h *harness) {
	keys := h.keys("leased", "set", "expired", "deleted", "locked", "extended", "unlocked")
	h.ends(short, func() {
		for _, key := range keys {
			h.lock(key, "token", short)
		}
	}, func() bool { return h.exists(keys[len(keys)-1]) })
	if got := h.lease("lease", long, keys[0])[0]; got != nil {
		h.Errorf("Lease of an expired key gave %q, want nil", got)
	}
	h.is("Set with the head of an expired value", h.setIf("token", keys[1], "value", long), false)
	h.is("Expire of an expired key", h.expireIf("", long, keys[2]), false)
	h.is("Delete of an expired key", h.deleteIf("", keys[3]), false)
	h.is("Lock of an expired key", h.lock(keys[4], "another", long), true)
	h.is("Extend of an expired lock", h.extend(keys[5], "token", long), false)
	h.is("Unlock of an expired lock", h.unlock(keys[6], "token"), false)
	for i, want := range []any{"lease", nil, nil, nil, "another", nil, nil} {
		h.holds(keys[i], want)
	}
}

// longer gives keys a short ttl and then a long one: nothing may be left of the first.
func longer(h *harness) {
	h.set(h.key("set"), "value", short)
	h.set(h.key("set"), "value", long)
	h.set(h.key("expire"), "value", short)
	h.is("Expire", h.expireIf("val", long, h.key("expire")), true)
	h.lease("lease", short, h.key("lease"))
	h.is("Expire", h.expireIf("lease", long, h.key("lease")), true)
	h.lease("lease", short, h.key("lease and set"))
	h.is("Set", h.setIf("lease", h.key("lease and set"), "value", long), true)
	h.is("Lock", h.lock(h.key("extend"), "token", short), true)
	h.is("Extend", h.extend(h.key("extend"), "token", long), true)
	h.is("Lock", h.lock(h.key("lock again"), "token", short), true)
	h.is("Lock", h.lock(h.key("lock again"), "token", long), true)
	h.is("Lock", h.lock(h.key("hand over"), "old", short), true)
	h.isHandedOver(lockOf("token", long, h.key("hand over")), "old")
	h.set(h.key("delete and lease"), "value", short)
	h.deleteIf("", h.key("delete and lease"))
	h.lease("lease", long, h.key("delete and lease"))
	h.pass()
	for _, name := range []string{"set", "expire", "lease", "lease and set", "extend", "lock again", "hand over", "delete and lease"} {
		if !h.exists(h.key(name)) {
			h.Errorf("%q is gone after its first ttl", name)
		}
	}
}

func noExpiry(h *harness) {
	for _, l := range lives {
		l.start(h, h.key(l.name), cachify.NoExpiry)
	}
	h.set(h.key("short before"), "value", short)
	h.set(h.key("short before"), "value", cachify.NoExpiry)
	h.pass()
	h.holds(h.key("short before"), "value")
	for _, l := range lives {
		if !h.exists(h.key(l.name)) {
			h.Errorf("a key without expiry is gone after %s", l.name)
		}
	}
}

func hundredYears(h *harness) {
	for _, l := range lives {
		l.start(h, h.key(l.name), 100*365*24*long)
	}
	h.pass()
	for _, l := range lives {
		if !h.exists(h.key(l.name)) {
			h.Errorf("a key with a ttl of 100 years is gone after %s", l.name)
		}
	}
}
