package storetest

import (
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
		h.is("Lock", h.lock(key, "token", long), true)
		h.is("Extend", h.extend(key, "token", ttl), true)
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
	}
	for _, l := range lives {
		tests = append(tests, test{"EndsAfter" + l.name, func(h *harness) {
			key := h.key("k")
			h.ends(short, func() { l.start(h, key, short) }, func() bool { return h.exists(key) })
		}}, test{"RoundedUpIn" + l.name, func(h *harness) {
			// Rounded down, these would be no ttl or an error.
			for _, ttl := range []time.Duration{1, 500 * time.Microsecond, 1500 * time.Microsecond} {
				key := h.key(ttl.String())
				l.start(h, key, ttl)
				h.eventually("the end of a ttl of "+ttl.String(), func() bool { return !h.exists(key) })
			}
		}})
	}
	for _, l := range refusals {
		tests = append(tests, test{"LeftAloneByRefused" + l.name, func(h *harness) {
			key := h.key("k")
			h.ends(short, func() { l.start(h, key, short) }, func() bool { return h.exists(key) })
		}})
	}
	return tests
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
	h.set(h.key("delete and lease"), "value", short)
	h.deleteIf("", h.key("delete and lease"))
	h.lease("lease", long, h.key("delete and lease"))
	h.pass()
	for _, name := range []string{"set", "expire", "lease", "lease and set", "extend", "delete and lease"} {
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
