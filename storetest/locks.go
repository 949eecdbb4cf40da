package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

var locks = []test{
	{"Ownership", func(h *harness) {
		key := h.key("lock")
		h.is("Extend of an absent lock", h.extend(key, "mine", long), false)
		h.is("Unlock of an absent lock", h.unlock(key, "mine"), false)
		h.holds(key, nil)
		h.is("Lock", h.lock(key, "mine", long), true)
		h.holds(key, "mine")
		h.is("Lock with another token", h.lock(key, "yours", long), false)
		h.is("Extend with another token", h.extend(key, "yours", long), false)
		h.is("Unlock with another token", h.unlock(key, "yours"), false)
		h.holds(key, "mine")
		h.is("Extend", h.extend(key, "mine", long), true)
		h.holds(key, "mine")
		h.is("Unlock", h.unlock(key, "mine"), true)
		h.holds(key, nil)
		h.is("Unlock once more", h.unlock(key, "mine"), false)
		h.is("Lock by another", h.lock(key, "yours", long), true)
		h.is("Unlock after another took it", h.unlock(key, "mine"), false)
		h.holds(key, "yours")
	}},
	{"RepeatedLock", func(h *harness) {
		key := h.key("lock")
		for attempt := range 3 {
			h.is(fmt.Sprint("attempt ", attempt), h.lock(key, "mine", long), true)
		}
		h.holds(key, "mine")
		h.is("Unlock", h.unlock(key, "mine"), true)
		h.holds(key, nil)
	}},
	{"WholeToken", func(h *harness) {
		key := h.key("lock")
		h.is("Lock", h.lock(key, "token-1", long), true)
		for _, other := range notToken1 {
			h.is("Lock with "+other, h.lock(key, other, long), false)
			h.is("Extend with "+other, h.extend(key, other, long), false)
			h.is("Unlock with "+other, h.unlock(key, other), false)
		}
		h.holds(key, "token-1")
	}},
	{"AnyToken", func(h *harness) {
		for i, token := range awkwardTokens() {
			key := h.key(fmt.Sprint(i))
			h.is("Lock", h.lock(key, token, long), true)
			h.holds(key, token)
			h.heldBy(key, false, token)
			h.is("Lock with another token", h.lock(key, token+"x", long), false)
			h.is("Extend", h.extend(key, token, long), true)
			h.is("Unlock", h.unlock(key, token), true)
			h.holds(key, nil)
		}
	}},
	{"AnyKey", func(h *harness) {
		for _, name := range awkward() {
			if len(name) > 1<<10 {
				continue
			}
			key := h.key(name)
			h.is("Lock", h.lock(key, "mine", long), true)
			h.heldBy(key, false, "mine")
			h.is("Extend", h.extend(key, "mine", long), true)
			h.is("Unlock", h.unlock(key, "mine"), true)
		}
	}},
	{"IsAKey", func(h *harness) {
		key := h.key("lock")
		h.set(key, "value", long)
		h.is("Lock of a key that holds a value", h.lock(key, "mine", long), false)
		h.holds(key, "value")
		h.is("Delete", h.deleteIf("", key), true)
		h.is("Lock", h.lock(key, "mine", long), true)
		h.is("Delete of a lock", h.deleteIf("", key), true)
		h.is("Extend after Delete", h.extend(key, "mine", long), false)
		h.is("Unlock after Delete", h.unlock(key, "mine"), false)
		h.is("Lock by another after Delete", h.lock(key, "yours", long), true)
	}},
	{"AfterExpiry", func(h *harness) {
		key := h.key("lock")
		h.ends(short, func() { h.is("Lock", h.lock(key, "mine", short), true) }, func() bool { return h.exists(key) })
		h.heldBy(key, false)
		h.is("Extend of an expired lock", h.extend(key, "mine", long), false)
		h.is("Unlock of an expired lock", h.unlock(key, "mine"), false)
		h.is("Lock by another", h.lock(key, "yours", long), true)
		h.is("Extend of another's lock", h.extend(key, "mine", long), false)
		h.is("Unlock of another's lock", h.unlock(key, "mine"), false)
		h.holds(key, "yours")
	}},
	{"Holders", func(h *harness) {
		for _, c := range lifetimes {
			key := h.key(c.name)
			h.heldBy(key, false)
			h.is("Lock", h.lock(key, "mine", c.ttl), true)
			h.heldBy(key, false, "mine")
			_, left := h.holders(key, false)
			h.timeLeft(c.name, left[0], c.ttl)
			h.is("Unlock", h.unlock(key, "mine"), true)
			h.heldBy(key, false)
		}
	}},
	{"OneWinner", lockRace},
	{"OneAtATime", oneAtATime},
}

// notToken1 are tokens that a careless comparison mistakes for token-1.
var notToken1 = []string{"token", "token-12", "oken-1", "TOKEN-1", "token-1\x00", " token-1", "token-1\n", ".......", "%w+", "*"}

// awkwardTokens are awkward texts that may be tokens: not empty, and no longer than what a token with a description of its owner takes.
func awkwardTokens() []string {
	tokens := []string{"a token with spaces", "two\nlines\n", "\ttab\t", "host app-1, process 7: \"nightly\" {x}", strings.Repeat("token", 60)}
	for _, text := range awkward() {
		if text != "" && len(text) <= 300 {
			tokens = append(tokens, text)
		}
	}
	return tokens
}

var lifetimes = []struct {
	name string
	ttl  time.Duration
}{
	{"an hour", long},
	{"ten seconds", 10 * time.Second},
	{"a hundred years", 100 * 365 * 24 * long},
	{"for ever", cachify.NoExpiry},
}

// timeLeft checks the time that a holder has left shortly after its ttl was set.
func (h *harness) timeLeft(what string, left, ttl time.Duration) {
	h.Helper()
	if ttl == cachify.NoExpiry && left != ttl || ttl != cachify.NoExpiry && (left > ttl+time.Millisecond || left < ttl-patient) {
		h.Errorf("%s: %v is left of %v", what, left, ttl)
	}
}

func (h *harness) is(what string, got, want bool) {
	h.Helper()
	if got != want {
		h.Errorf("%s gave %t, want %t", what, got, want)
	}
}

func lockRace(h *harness) {
	const keys, racers = 40, 8
	stores := []cachify.Store{h.store, h.open()}
	var wins [keys]atomic.Int32
	h.each(racers, func(i int) error {
		for k := range keys {
			_, ok, err := stores[i%2].Lock(h.Context(), lockOf(fmt.Sprint("token of ", i), long, h.key(fmt.Sprint(k))), "")
			if err != nil {
				return err
			}
			if ok {
				wins[k].Add(1)
			}
		}
		return nil
	})
	for k := range wins {
		if n := wins[k].Load(); n != 1 {
			h.Errorf("lock %d was taken by %d, want 1", k, n)
		}
	}
}

// oneAtATime hands one lock around between clients that wait for its release as a client does: by
// notification, and for the case that one is lost, by a look now and then.
func oneAtATime(h *harness) {
	const holders, times = 6, 8
	stores := []cachify.Store{h.store, h.open()}
	key := h.key("lock")
	var inside, most, held atomic.Int32
	h.each(holders, func(i int) error {
		store, token := stores[i%2], fmt.Sprint("token of ", i)
		for range times {
			if err := h.await(store, lockOf(token, long, key)); err != nil {
				return err
			}
			if n := inside.Add(1); n > 1 {
				most.Store(n)
			}
			held.Add(1)
			values, _, err := store.Get(h.Context(), []string{key}, nil, nil)
			if err != nil || string(values[0]) != token {
				return fmt.Errorf("the lock that %q holds has %q, %v", token, values, err)
			}
			inside.Add(-1)
			if ok, err := store.Unlock(h.Context(), lockOf(token, long, key)); err != nil || !ok {
				return fmt.Errorf("the holder's Unlock gave %t, %v", ok, err)
			}
		}
		return nil
	})
	if most.Load() != 0 || held.Load() != holders*times {
		h.Errorf("up to %d held the lock at once, and it was held %d times, want 1 and %d", max(most.Load(), 1), held.Load(), holders*times)
	}
}

// await tries to lock c, which has up to three keys, after each notification about one of them, until it succeeds.
func (h *harness) await(store cachify.Store, c cachify.Claim) error {
	var changes [3]<-chan struct{} // from those that stay nil nothing comes
	for i, key := range c.Keys {
		ch, stop := store.Watch(key)
		defer stop()
		changes[i] = ch
	}
	deadline := time.After(2 * patient)
	for {
		if _, ok, err := store.Lock(h.Context(), c, ""); ok || err != nil {
			return err
		}
		select {
		case <-changes[0]:
		case <-changes[1]:
		case <-changes[2]:
		case <-time.After(time.Second):
		case <-deadline:
			return fmt.Errorf("waited for %q for %v", c.Keys, 2*patient)
		}
	}
}
