package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-cachify/cachify"
)

// changes are the calls that watchers hear of.
var changes = []struct {
	name   string
	before func(h *harness, key string)
	change func(h *harness, key string)
}{
	{"Set", func(h *harness, key string) {}, func(h *harness, key string) { h.set(key, "value", long) }},
	{"SetOverAValue", func(h *harness, key string) { h.set(key, "old", long) }, func(h *harness, key string) { h.set(key, "value", long) }},
	{"SetOverALease", func(h *harness, key string) { h.lease("lease", long, key) },
		func(h *harness, key string) { h.is("Set", h.setIf("lease", key, "value", long), true) }},
	{"Delete", func(h *harness, key string) { h.set(key, "old", long) },
		func(h *harness, key string) { h.is("Delete", h.deleteIf("", key), true) }},
	{"DeleteWithHead", func(h *harness, key string) { h.lease("lease", long, key) },
		func(h *harness, key string) { h.is("Delete", h.deleteIf("lease", key), true) }},
	{"DeleteOfNothing", func(h *harness, key string) {}, func(h *harness, key string) { h.is("Delete", h.deleteIf("", key), false) }},
	{"DeleteOfALock", func(h *harness, key string) { h.lock(key, "token", long) },
		func(h *harness, key string) { h.is("Delete", h.deleteIf("", key), true) }},
	{"Unlock", func(h *harness, key string) { h.lock(key, "token", long) },
		func(h *harness, key string) { h.is("Unlock", h.unlock(key, "token"), true) }},
	{"UnlockOfNothing", func(h *harness, key string) {},
		func(h *harness, key string) { h.is("Unlock", h.unlock(key, "token"), false) }},
	{"UnlockOfAHandedOverLock", func(h *harness, key string) {
		h.lock(key, "old", long)
		h.isHandedOver(lockOf("token", long, key), "old")
	}, func(h *harness, key string) { h.is("Unlock", h.unlock(key, "token"), true) }},
	{"UnlockOfASlot", func(h *harness, key string) {
		h.take(slotOf(3, "token", long, key))
		h.take(slotOf(3, "other", long, key))
	}, func(h *harness, key string) { h.is("Unlock", h.giveBack(slotOf(3, "token", long, key)), true) }},
	{"UnlockOfTheLastSlot", func(h *harness, key string) { h.take(slotOf(3, "token", long, key)) },
		func(h *harness, key string) { h.is("Unlock", h.giveBack(slotOf(3, "token", long, key)), true) }},
	{"UnlockOfNoSlot", func(h *harness, key string) {},
		func(h *harness, key string) { h.is("Unlock", h.giveBack(slotOf(3, "token", long, key)), false) }},
}

var watch = watchTests()

func watchTests() []test {
	tests := []test{
		{"AnyKey", func(h *harness) {
			for _, name := range awkward() {
				if len(name) > 1<<10 {
					continue
				}
				ch, stop := h.watching(h.store, h.key(name))
				h.set(h.key(name), "value", long)
				h.receives("Set", ch)
				stop()
			}
		}},
		{"EachOfManyKeys", func(h *harness) {
			keys := h.keys("a", "b", "c")
			var chans []<-chan struct{}
			for _, key := range keys {
				ch, stop := h.watching(h.store, key)
				defer stop()
				chans = append(chans, ch)
			}
			value := []byte("value")
			_, _, err := h.store.Set(h.Context(), nil, keys, [][]byte{value, value, value}, []time.Duration{long, long, long}, nil)
			h.noError("Set", err)
			for _, ch := range chans {
				h.receives("Set", ch)
			}
			_, err = h.store.Delete(h.Context(), nil, keys)
			h.noError("Delete", err)
			for _, ch := range chans {
				h.receives("Delete", ch)
			}
		}},
		{"NobodyReads", func(h *harness) {
			key := h.key("k")
			ch, stop := h.watching(h.store, key)
			defer stop()
			for i := range 200 {
				h.set(key, fmt.Sprint(i), long)
			}
			h.receives("many changes", ch)
		}},
		{"Stop", watchStop},
		{"ChangeIsVisible", changeIsVisible},
	}
	for _, c := range changes {
		tests = append(tests, test{c.name, func(h *harness) {
			key := h.key("k")
			c.before(h, key)
			var chans []<-chan struct{}
			for _, store := range []cachify.Store{h.store, h.open(), h.store} {
				ch, stop := h.watching(store, key)
				defer stop()
				chans = append(chans, ch)
			}
			c.change(h, key)
			for _, ch := range chans {
				h.receives(c.name, ch)
			}
		}})
	}
	return tests
}

// watching watches key and returns when notifications have begun.
func (h *harness) watching(store cachify.Store, key string) (<-chan struct{}, func()) {
	h.Helper()
	ch, stop := store.Watch(key)
	h.receives("the beginning of notifications", ch)
	return ch, stop
}

func (h *harness) receives(what string, ch <-chan struct{}) {
	h.Helper()
	select {
	case _, ok := <-ch:
		if !ok {
			h.Fatalf("a watcher's channel is closed after %s", what)
		}
	case <-time.After(patient):
		h.Fatalf("a watcher was not told of %s within %v", what, patient)
	}
}

// watchStop: one watcher's stop ends nothing for another of the same key.
func watchStop(h *harness) {
	key := h.key("k")
	stopped, stop := h.watching(h.store, key)
	other, stopOther := h.watching(h.store, key)
	defer stopOther()
	h.set(key, "value", long)
	h.receives("Set", stopped)
	h.receives("Set", other)
	stop()
	stop()
	drain(stopped)
	h.deleteIf("", key)
	h.receives("Delete", other)
	select {
	case <-stopped:
		h.Error("a watcher was told of a change after its stop")
	default:
	}
	again, stopAgain := h.watching(h.store, key)
	defer stopAgain()
	stop()
	h.set(key, "value", long)
	h.receives("Set", again)
}

func drain(ch <-chan struct{}) {
	select {
	case <-ch:
	default:
	}
}

// changeIsVisible lets a reader follow a writer by notifications alone. A notification that came before
// its change can be seen would leave the reader waiting.
func changeIsVisible(h *harness) {
	const rounds = 50
	key, store := h.key("k"), h.open()
	ch, stop := h.watching(store, key)
	defer stop()
	seen := make(chan struct{})
	h.each(2, func(i int) error {
		for round := range rounds {
			want := fmt.Sprint("round ", round)
			if i == 0 {
				_, _, err := h.store.Set(h.Context(), nil, []string{key}, [][]byte{[]byte(want)}, []time.Duration{long}, nil)
				if err != nil {
					return err
				}
				select {
				case <-seen:
					continue
				case <-time.After(2 * patient):
					return errors.New("the reader has stopped")
				}
			}
			if err := follow(h, store, key, ch, want); err != nil {
				return err
			}
			seen <- struct{}{}
		}
		return nil
	})
}

func follow(h *harness, store cachify.Store, key string, ch <-chan struct{}, want string) error {
	deadline := time.After(patient)
	for {
		select {
		case <-ch:
		case <-deadline:
			return fmt.Errorf("no notification let the reader see %q within %v", want, patient)
		}
		values, _, err := store.Get(h.Context(), []string{key}, nil, nil)
		if err != nil {
			return err
		}
		if string(values[0]) == want {
			return nil
		}
	}
}
