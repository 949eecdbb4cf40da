package cachify

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-cachify/cachify/internal/redistest"
)

// names are texts with all that decides about hash tags, and with what must not matter.
var names = rapid.Custom(func(t *rapid.T) string {
	parts := rapid.SliceOfN(rapid.SampledFrom([]string{"{", "}", "{}", "a", "b", ":", " ", "lock:", "fence:", "ü", "\x00", "%7B"}), 0, 8).Draw(t, "parts")
	return strings.Join(parts, "")
})

// Whatever braces and spaces there are in the prefix and in the name, a lock's helper key has the lock's own slot.
func TestAFenceKeyHasTheSlotOfItsLock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		prefix, name := names.Draw(t, "prefix"), names.Draw(t, "name")
		lock := prefix + "lock:" + name
		key := fenceKey(prefix, lock)
		if slot(key) != slot(lock) {
			t.Errorf("the key %q of lock %q has another slot", key, lock)
		}
		if key == lock || fenceKey(prefix, lock) != key {
			t.Errorf("the key of lock %q is %q", lock, key)
		}
		if other := prefix + "lock:" + names.Draw(t, "other name"); other != lock && fenceKey(prefix, other) == key {
			t.Errorf("locks %q and %q have one key %q", lock, other, key)
		}
	})
}

// The slots are those of a server.
func TestSlotsAreThoseOfRedis(t *testing.T) {
	rdb := redistest.Start(t, "cluster-enabled yes", "cluster-config-file nodes.conf").Client(t)
	keys := []string{"", "a", "{", "}", "{}", "{}a", "{a}", "a{b}c", "a{b}{c}", "a{{b}}", "{a", "a}", "}{", "}{a}", "{}{a}", "foo{}{bar}", "ключ {ü} 1", "\x00\xff"}
	for range 500 {
		keys = append(keys, names.Example(len(keys)))
	}
	for _, key := range keys {
		want, err := rdb.ClusterKeySlot(t.Context(), key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if got := slot(key); int64(got) != want {
			t.Errorf("the slot of %q is %d, Redis says %d", key, got, want)
		}
	}
}
