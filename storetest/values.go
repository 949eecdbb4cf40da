package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

var values = []test{
	{"AbsentIsNil", func(h *harness) {
		values, stamps, err := h.store.Get(h.Context(), h.keys("a", "b"), h.tags("t", "u"), nil)
		h.noError("Get", err)
		h.lengths("Get", len(values), 2, len(stamps), 2)
		if values[0] != nil || values[1] != nil || stamps[0] != 0 || stamps[1] != 0 {
			h.Errorf("Get of nothing gave %q and %d, want nil and 0", values, stamps)
		}
	}},
	{"AnyValue", func(h *harness) {
		for i, value := range awkward() {
			key := h.key(fmt.Sprint("value", i))
			h.set(key, value, long)
			h.holds(key, value)
			if got := h.lease("lease", long, key)[0]; string(got) != value {
				h.Errorf("Lease gave %q, want %q", clip(got), clip([]byte(value)))
			}
		}
	}},
	{"AnyKey", func(h *harness) {
		var keys []string
		for i, name := range awkward() {
			if len(name) > 1<<10 {
				continue
			}
			keys = append(keys, h.key(name))
			h.set(keys[len(keys)-1], fmt.Sprint(i), long)
		}
		for i, key := range keys {
			h.holds(key, fmt.Sprint(i))
		}
	}},
	{"InOrder", func(h *harness) {
		const n = 300
		var keys []string
		var values [][]byte
		var ttls []time.Duration
		for i := range n {
			keys = append(keys, h.key(fmt.Sprint("k", i)))
			values = append(values, fmt.Append(nil, "v", i))
			ttls = append(ttls, long+time.Duration(i))
		}
		done, _, err := h.store.Set(h.Context(), nil, keys, values, ttls, nil)
		h.noError("Set", err)
		if len(done) != n || slices.Contains(done, false) {
			h.Fatalf("Set of %d keys gave %v", n, done)
		}
		var odd []string
		for i := 1; i < n; i += 2 {
			odd = append(odd, keys[i])
		}
		deleted, err := h.store.Delete(h.Context(), nil, odd)
		h.noError("Delete", err)
		if len(deleted) != n/2 || slices.Contains(deleted, false) {
			h.Fatalf("Delete of %d keys gave %v", n/2, deleted)
		}
		for i, got := range h.get(keys...) {
			if want := string(values[i]); i%2 == 0 && string(got) != want || i%2 == 1 && got != nil {
				h.Fatalf("value %d of many is %q, want %q if its place is even, else nothing", i, got, want)
			}
		}
	}},
	{"DoneInOrder", func(h *harness) {
		for _, name := range []string{"a", "c"} {
			h.set(h.key(name), "old", long)
		}
		keys, want := h.keys("a", "b", "c", "d"), []bool{true, false, true, false}
		done, err := h.store.Expire(h.Context(), nil, long, keys)
		h.noError("Expire", err)
		if !slices.Equal(done, want) {
			h.Errorf("Expire gave %v, want %v", done, want)
		}
		one := []byte("old-value")
		done, _, err = h.store.Set(h.Context(), []byte("old"), keys, [][]byte{one, one, one, one}, []time.Duration{long, long, long, long}, nil)
		h.noError("Set", err)
		if !slices.Equal(done, want) {
			h.Errorf("Set gave %v, want %v", done, want)
		}
		done, err = h.store.Delete(h.Context(), nil, keys)
		h.noError("Delete", err)
		if !slices.Equal(done, want) {
			h.Errorf("Delete gave %v, want %v", done, want)
		}
	}},
	{"Duplicates", func(h *harness) {
		key, other := h.key("k"), h.key("other")
		_, _, err := h.store.Set(h.Context(), nil, []string{key, other, key},
			[][]byte{[]byte("first"), []byte("other"), []byte("last")}, []time.Duration{long, long, long}, nil)
		h.noError("Set", err)
		got := h.get(key, other, key, h.key("absent"), key)
		if string(bytes.Join(got, []byte(","))) != "last,other,last,,last" {
			h.Errorf("Get with duplicates gave %q", got)
		}
		done, err := h.store.Delete(h.Context(), nil, []string{key, key})
		h.noError("Delete", err)
		if !slices.Contains(done, true) || h.exists(key) {
			h.Errorf("Delete with duplicates gave %v, key is there: %t", done, h.exists(key))
		}
		if got := h.lease("lease", long, key, key); got[0] != nil {
			h.Errorf("Lease with duplicates of an absent key gave %q first, want nil", got[0])
		}
		h.holds(key, "lease")
	}},
	{"NoKeys", func(h *harness) {
		h.get()
		h.stamps()
		h.lease("lease", long)
		set, stamps, err := h.store.Set(h.Context(), nil, nil, nil, nil, nil)
		h.noError("Set", err)
		expired, err := h.store.Expire(h.Context(), nil, long, nil)
		h.noError("Expire", err)
		deleted, err := h.store.Delete(h.Context(), nil, nil)
		h.noError("Delete", err)
		if len(set)+len(stamps)+len(expired)+len(deleted) != 0 {
			h.Errorf("calls without keys gave %v %v %v %v", set, stamps, expired, deleted)
		}
	}},
	{"OwnBytes", ownBytes},
	{"Shared", func(h *harness) {
		h.set(h.key("k"), "value", long)
		values, _, err := h.open().Get(h.Context(), h.keys("k"), nil, nil)
		h.noError("Get", err)
		if string(values[0]) != "value" {
			h.Errorf("another store over the same data reads %q, want %q", values[0], "value")
		}
	}},
}

// ownBytes writes into everything it gave to the store and got from it: what is stored must stay.
func ownBytes(h *harness) {
	keys, head, value, lease := h.keys("value", "lease"), []byte("val"), []byte("value-1"), []byte("lease")
	_, _, err := h.store.Lease(h.Context(), lease, long, keys[1:], nil, nil)
	h.noError("Lease", err)
	h.set(keys[0], "val", long)
	_, _, err = h.store.Set(h.Context(), head, keys[:1], [][]byte{value}, []time.Duration{long}, nil)
	h.noError("Set", err)
	for _, b := range [][]byte{head, value, lease} {
		clear(b)
	}
	want := []string{"value-1", "lease"}
	for range 2 {
		for i, got := range h.get(keys...) {
			if string(got) != want[i] {
				h.Fatalf("Get gave %q, want %q: somebody else's slice is stored", got, want[i])
			}
			clear(got)
		}
		for i, got := range h.lease("another", long, keys...) {
			if string(got) != want[i] {
				h.Fatalf("Lease gave %q, want %q: somebody else's slice is stored", got, want[i])
			}
			clear(got)
		}
	}
	twice := h.get(keys[0], keys[0])
	clear(twice[0])
	if string(twice[1]) != "value-1" {
		h.Errorf("two results of one call share their bytes")
	}
}

// awkward gives texts that a careless store mistakes for something else.
func awkward() []string {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	return []string{
		"", "a", "0", "-1", "123", "1e3", "nil", "false", "\x00", "a\x00b", "\x00\x00", " ", "\r\n", "$-1\r\n", "%d", "..*", "{x}", "}{",
		"äöü", "\xff\xfe", string(all), strings.Repeat("long", 200), strings.Repeat(string(all), 4096),
	}
}
