package storetest

import (
	"slices"
	"time"

	"github.com/go-cachify/cachify"
)

// lockOf is the claim of a lock, or of several, without fencing tokens.
func lockOf(token string, ttl time.Duration, keys ...string) cachify.Claim {
	return cachify.Claim{Keys: keys, Token: token, TTL: ttl}
}

// slotOf is the claim of one of size slots.
func slotOf(size int, token string, ttl time.Duration, key string) cachify.Claim {
	return cachify.Claim{Keys: []string{key}, Token: token, TTL: ttl, Slots: size}
}

// several is the claim of locks whose keys hash to one Redis Cluster slot.
func (h *harness) several(token string, ttl time.Duration, names ...string) cachify.Claim {
	return lockOf(token, ttl, h.tags(names...)...)
}

// fenced is several with fencing tokens.
func (h *harness) fenced(token string, ttl time.Duration, names ...string) cachify.Claim {
	c := h.several(token, ttl, names...)
	for _, key := range c.Keys {
		c.Fences = append(c.Fences, key+":fence")
	}
	return c
}

// take locks c, which nobody is to hand over.
func (h *harness) take(c cachify.Claim) bool {
	h.Helper()
	_, ok := h.takeFrom(c, "")
	return ok
}

func (h *harness) takeFrom(c cachify.Claim, from string) (int64, bool) {
	h.Helper()
	fence, ok, err := h.store.Lock(h.Context(), c, from)
	h.noError("Lock", err)
	if !ok && fence != 0 {
		h.Errorf("Lock gave the fencing token %d to one who did not get the lock", fence)
	}
	return fence, ok
}

// takeFenced locks c and gives its fencing token.
func (h *harness) takeFenced(c cachify.Claim, from string) int64 {
	h.Helper()
	fence, ok := h.takeFrom(c, from)
	if !ok || fence <= 0 {
		h.Fatalf("Lock of %q by %q from %q gave the fencing token %d, %t", c.Keys, c.Token, from, fence, ok)
	}
	return fence
}

func (h *harness) prolong(claims ...cachify.Claim) []bool {
	h.Helper()
	done, errs := h.store.Extend(h.Context(), claims)
	for _, err := range errs {
		h.noError("Extend", err)
	}
	if len(done) != len(claims) || errs != nil && len(errs) != len(claims) {
		h.Fatalf("Extend of %d claims gave results for %d and errors for %d", len(claims), len(done), len(errs))
	}
	return done
}

func (h *harness) giveBack(c cachify.Claim) bool {
	h.Helper()
	ok, err := h.store.Unlock(h.Context(), c)
	h.noError("Unlock", err)
	return ok
}

func (h *harness) fence(c cachify.Claim) (int64, bool) {
	h.Helper()
	fence, ok, err := h.store.Fence(h.Context(), c)
	h.noError("Fence", err)
	if ok != (fence > 0) {
		h.Errorf("Fence gave %d, %t", fence, ok)
	}
	return fence, ok
}

func (h *harness) holders(key string, semaphore bool) (tokens []string, left []time.Duration) {
	h.Helper()
	tokens, left, err := h.store.Holders(h.Context(), key, semaphore)
	h.noError("Holders", err)
	if len(tokens) != len(left) {
		h.Fatalf("Holders gave %d tokens and the time of %d", len(tokens), len(left))
	}
	return tokens, left
}

// heldBy checks who holds a lock or the slots of a semaphore, in any order.
func (h *harness) heldBy(key string, semaphore bool, want ...string) {
	h.Helper()
	tokens, _ := h.holders(key, semaphore)
	slices.Sort(tokens)
	slices.Sort(want)
	if !slices.Equal(tokens, want) {
		h.Errorf("Holders of %q gave %q, want %q", key, tokens, want)
	}
}

// lock, extend and unlock are for a lock of one key.

func (h *harness) lock(key, token string, ttl time.Duration) bool {
	h.Helper()
	return h.take(lockOf(token, ttl, key))
}

func (h *harness) extend(key, token string, ttl time.Duration) bool {
	h.Helper()
	return h.prolong(lockOf(token, ttl, key))[0]
}

func (h *harness) unlock(key, token string) bool {
	h.Helper()
	return h.giveBack(lockOf(token, long, key))
}
