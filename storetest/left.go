package storetest

import (
	"time"

	"github.com/go-cachify/cachify"
)

// left is about how long Get and Lease say that values have left.
var left = []test{
	{"Get", func(h *harness) {
		h.tellsLeft(func(keys []string, left []time.Duration) error {
			_, _, err := h.store.Get(h.Context(), keys, nil, left)
			return err
		})
	}},
	{"GetWithTags", func(h *harness) {
		h.tellsLeft(func(keys []string, left []time.Duration) error {
			_, _, err := h.store.Get(h.Context(), keys, h.tags("", "t"), left)
			return err
		})
	}},
	{"Lease", func(h *harness) {
		h.tellsLeft(func(keys []string, left []time.Duration) error {
			_, _, err := h.store.Lease(h.Context(), []byte("lease"), long, keys[:3], nil, left[:3])
			return err
		})
	}},
	{"LeaseWithTags", func(h *harness) {
		h.tellsLeft(func(keys []string, left []time.Duration) error {
			_, _, err := h.store.Lease(h.Context(), []byte("lease"), long, keys[:3], h.tags("", "t"), left[:3])
			return err
		})
	}},
}

// tellsLeft calls read for three keys that are there and one that is not.
func (h *harness) tellsLeft(read func(keys []string, left []time.Duration) error) {
	h.Helper()
	ttls := []time.Duration{long, cachify.NoExpiry, 10 * time.Second}
	keys := h.keys("a", "b", "c", "absent")
	before := time.Now()
	for i, ttl := range ttls {
		h.set(keys[i], "value", ttl)
	}
	left := make([]time.Duration, len(keys))
	h.noError("read", read(keys, left))
	took := time.Since(before)
	for i, ttl := range ttls {
		switch {
		case ttl == cachify.NoExpiry:
			if left[i] != ttl {
				h.Errorf("%v is left of a value that does not expire", left[i])
			}
		case left[i] > ttl || left[i] < ttl-took-slack:
			h.Errorf("%v is left of %v after %v at most", left[i], ttl, took)
		}
	}
}
