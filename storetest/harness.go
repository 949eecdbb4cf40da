package storetest

import (
	"crypto/rand"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
)

const (
	long  = time.Hour              // a ttl that does not end during a test
	short = 100 * time.Millisecond // a ttl whose end a test waits for
	slack = 20 * time.Millisecond  // how far the clocks of the test and of the backend may drift apart
)

// patient is how long a test waits for what must happen, but no one says when.
var patient = 5 * time.Second

// A harness is what one test works with. The methods that end the test when a call fails belong to the
// goroutine of the test; others call store and return the error through each.
type harness struct {
	*testing.T
	backend Backend
	store   cachify.Store
	prefix  string
}

func newHarness(t *testing.T, backend Backend) *harness {
	h := &harness{T: t, backend: backend, prefix: "storetest:" + rand.Text() + ":"}
	h.store = h.open()
	return h
}

// open gives another store over the same data, for as long as the test runs.
func (h *harness) open() cachify.Store {
	h.Helper()
	store := h.backend.Open()
	store.Open()
	h.Cleanup(func() {
		if err := store.Close(); err != nil {
			h.Errorf("Close: %v", err)
		}
	})
	return store
}

func (h *harness) key(name string) string { return h.prefix + name }

func (h *harness) keys(names ...string) []string {
	keys := make([]string, len(names))
	for i, name := range names {
		keys[i] = h.key(name)
	}
	return keys
}

// tags gives names of tags that hash to one Redis Cluster slot.
func (h *harness) tags(names ...string) []string {
	tags := make([]string, len(names))
	for i, name := range names {
		tags[i] = "{" + h.prefix + "}" + name
	}
	return tags
}

func (h *harness) noError(call string, err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("%s: %v", call, err)
	}
}

func (h *harness) get(keys ...string) [][]byte {
	h.Helper()
	values, stamps, err := h.store.Get(h.Context(), keys, nil, nil)
	h.noError("Get", err)
	h.lengths("Get", len(values), len(keys), len(stamps), 0)
	return values
}

func (h *harness) stamps(tags ...string) []int64 {
	h.Helper()
	values, stamps, err := h.store.Get(h.Context(), nil, tags, nil)
	h.noError("Get", err)
	h.lengths("Get", len(values), 0, len(stamps), len(tags))
	return stamps
}

func (h *harness) lengths(call string, keys, wantKeys, tags, wantTags int) {
	h.Helper()
	if keys != wantKeys || tags != wantTags {
		h.Fatalf("%s gave results for %d keys and %d tags, want %d and %d", call, keys, tags, wantKeys, wantTags)
	}
}

func (h *harness) lease(lease string, ttl time.Duration, keys ...string) [][]byte {
	h.Helper()
	values, stamps, err := h.store.Lease(h.Context(), []byte(lease), ttl, keys, nil, nil)
	h.noError("Lease", err)
	h.lengths("Lease", len(values), len(keys), len(stamps), 0)
	return values
}

// set writes one value whatever is there.
func (h *harness) set(key, value string, ttl time.Duration) {
	h.Helper()
	if !h.setIf("", key, value, ttl) {
		h.Fatalf("Set(%q) without a head was not done", key)
	}
}

func (h *harness) setIf(head, key, value string, ttl time.Duration) bool {
	h.Helper()
	done, stamps, err := h.store.Set(h.Context(), bytesOf(head), []string{key}, [][]byte{[]byte(value)}, []time.Duration{ttl}, nil)
	h.noError("Set", err)
	h.lengths("Set", len(done), 1, len(stamps), 0)
	return done[0]
}

// setTags writes one value with tags and gives their stamps.
func (h *harness) setTags(ttl time.Duration, tags ...string) []int64 {
	h.Helper()
	_, stamps, err := h.store.Set(h.Context(), nil, h.keys("tagged"), [][]byte{[]byte("value")}, []time.Duration{ttl}, tags)
	h.noError("Set", err)
	h.lengths("Set", 0, 0, len(stamps), len(tags))
	return stamps
}

func (h *harness) expireIf(head string, ttl time.Duration, key string) bool {
	h.Helper()
	done, err := h.store.Expire(h.Context(), bytesOf(head), ttl, []string{key})
	h.noError("Expire", err)
	h.lengths("Expire", len(done), 1, 0, 0)
	return done[0]
}

func (h *harness) deleteIf(head, key string) bool {
	h.Helper()
	done, err := h.store.Delete(h.Context(), bytesOf(head), []string{key})
	h.noError("Delete", err)
	h.lengths("Delete", len(done), 1, 0, 0)
	return done[0]
}

func (h *harness) advance(ttl time.Duration, tags ...string) int64 {
	h.Helper()
	stamp, err := h.store.Advance(h.Context(), ttl, tags)
	h.noError("Advance", err)
	return stamp
}

// holds checks what is at key. Nothing is written as nil.
func (h *harness) holds(key string, want any) {
	h.Helper()
	got := h.get(key)[0]
	switch want := want.(type) {
	case nil:
		if got != nil {
			h.Errorf("%q holds %q, want nothing", key, clip(got))
		}
	case string:
		if got == nil || string(got) != want {
			h.Errorf("%q holds %q (nil: %t), want %q", key, clip(got), got == nil, clip([]byte(want)))
		}
	}
}

func (h *harness) exists(key string) bool {
	h.Helper()
	return h.get(key)[0] != nil
}

// each runs n goroutines and ends the test if one of them fails.
func (h *harness) each(n int, run func(i int) error) {
	h.Helper()
	errs := make([]error, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { errs[i] = run(i) })
	}
	group.Wait()
	h.noError("concurrent calls", errors.Join(errs...))
}

// pass lets a short ttl go by.
func (h *harness) pass() { time.Sleep(short + slack) }

// eventually asks again and again until it is so.
func (h *harness) eventually(what string, so func() bool) {
	h.Helper()
	for deadline := time.Now().Add(patient); !so(); {
		if time.Now().After(deadline) {
			h.Fatalf("not within %v: %s", patient, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// ends checks that what start brings about is there for ttl, and no longer.
func (h *harness) ends(ttl time.Duration, start func(), there func() bool) {
	h.Helper()
	began := time.Now()
	start()
	h.eventually("the end of a ttl", func() bool { return !there() })
	if took := time.Since(began); took < ttl-slack {
		h.Errorf("ended after %v, before its ttl of %v", took, ttl)
	}
}

// bytesOf gives nil for an empty head, which acts always.
func bytesOf(head string) []byte {
	if head == "" {
		return nil
	}
	return []byte(head)
}

// clip keeps messages about large values short.
func clip(b []byte) string {
	if len(b) > 64 {
		return string(b[:64]) + "..."
	}
	return string(b)
}
