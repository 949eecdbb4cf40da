package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-cachify/cachify"
)

// followHead is how much of a value a follower is told at least.
const followHead = 20

// follows are the tests of a store that is a [cachify.Followed]. Others pass them.
var follows = followTests()

func followTests() []test {
	tests := []test{
		{"Set", followSet},
		{"SetAgain", followSetAgain},
		{"Delete", followDelete},
		{"AnyKey", func(h *harness) {
			f := h.following(h.store, h.prefix)
			for _, name := range awkward() {
				if len(name) > 1<<10 {
					continue
				}
				h.set(h.key(name), "value", long)
				h.learns(f, "Set", isChange(h.key(name), "value"))
			}
		}},
		{"AnyPrefix", followAnyPrefix},
		{"Advance", followAdvance},
		{"OtherStamps", followOtherStamps},
		{"Several", followSeveral},
		{"Stop", followStop},
		{"ChangeIsVisible", followVisible},
		{"Anywhere", func(h *harness) {
			f := h.following(h.store, h.prefix)
			for i := range 64 { // of all slots of a Cluster
				h.set(h.key(fmt.Sprint(i)), "value", long)
				h.learns(f, "Set", isChange(h.key(fmt.Sprint(i)), "value"))
			}
		}},
	}
	for i, test := range tests {
		tests[i].run = func(h *harness) {
			if _, ok := h.store.(cachify.Followed); ok {
				test.run(h)
			}
		}
	}
	return tests
}

// A told is something that a follower was told.
type told struct {
	what  string // "live", "not live", "changed", "advanced"
	key   string
	head  string
	stamp int64
	tags  []string
}

// A listener is a follower that remembers what it was told.
type listener struct {
	mu      sync.Mutex
	all     []told
	busy    bool
	overlap bool // was called while it was being called
	stop    func()
}

func (l *listener) Live(live bool) {
	what := "live"
	if !live {
		what = "not live"
	}
	l.tell(told{what: what})
}

func (l *listener) Failed(error) {} // a store may have to try more than once

func (l *listener) Changed(key string, head []byte) {
	l.tell(told{what: "changed", key: key, head: string(head)})
}

func (l *listener) Advanced(stamp int64, tags []string) {
	l.tell(told{what: "advanced", stamp: stamp, tags: slices.Clone(tags)})
}

func (l *listener) tell(t told) {
	l.mu.Lock()
	l.overlap, l.busy = l.overlap || l.busy, true
	l.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all, l.busy = append(l.all, t), false
}

func (l *listener) heard(is func(told) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.all, is)
}

func (l *listener) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = nil
}

func isChange(key, head string) func(told) bool {
	return func(t told) bool { return t.what == "changed" && t.key == key && t.head == head }
}

func isAbout(key string) func(told) bool { return func(t told) bool { return t.key == key } }

func isAdvance(stamp int64, tags ...string) func(told) bool {
	return func(t told) bool { return t.what == "advanced" && t.stamp == stamp && slices.Equal(t.tags, tags) }
}

func (h *harness) stampTag() string { return h.tags("")[0] }

// following follows and returns when all changes are told.
func (h *harness) following(store cachify.Store, prefix string) *listener {
	h.Helper()
	l := new(listener)
	l.stop = store.(cachify.Followed).Follow(prefix, h.stampTag(), l)
	h.Cleanup(func() {
		l.stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.overlap {
			h.Error("a follower was called while it was being called")
		}
	})
	h.learns(l, "the beginning", func(t told) bool { return t.what == "live" })
	return l
}

func (h *harness) learns(l *listener, what string, is func(told) bool) {
	h.Helper()
	h.eventually("a follower is told of "+what, func() bool { return l.heard(is) })
}

// settled waits until the follower of prefix was told of a change that is made now. What came before it has then been told as well.
func (h *harness) settled(l *listener, key string) {
	h.Helper()
	h.set(key, "last", long)
	h.learns(l, "the last change", isChange(key, "last"))
}

func followSet(h *harness) {
	f := h.following(h.store, h.prefix)
	for i, value := range awkward() {
		key := h.key(fmt.Sprint("k", i))
		h.set(key, value, long)
		h.learns(f, "Set", func(t told) bool {
			return t.what == "changed" && t.key == key && len(t.head) >= min(followHead, len(value)) && bytes.HasPrefix([]byte(value), []byte(t.head))
		})
	}
	lease, head := h.key("lease"), "lease-of-twenty-bytes"[:followHead]
	h.lease(head, long, lease)
	h.is("Set", h.setIf(head, lease, "value", long), true)
	h.learns(f, "Set over a lease", isChange(lease, "value"))
}

// followSetAgain: what was not written is not told.
func followSetAgain(h *harness) {
	f := h.following(h.store, h.prefix)
	key := h.key("k")
	h.set(key, "value", long)
	h.learns(f, "Set", isChange(key, "value"))
	h.is("Set", h.setIf("other", key, "another", long), false)
	h.settled(f, key)
	if f.heard(isChange(key, "another")) {
		h.Error("a follower was told of a Set that was not done")
	}
}

func followDelete(h *harness) {
	f := h.following(h.store, h.prefix)
	for _, c := range []struct {
		name, head string
		there      bool
	}{{"k1", "", true}, {"k2", "val", true}, {"absent", "", false}} {
		key := h.key(c.name)
		if c.there {
			h.set(key, "value", long)
			h.learns(f, "Set", isChange(key, "value"))
		}
		h.is("Delete", h.deleteIf(c.head, key), c.there)
		h.learns(f, "Delete of "+c.name, isChange(key, ""))
	}
}

// followAnyPrefix has prefixes that look like a pattern, and keys that such a pattern would match.
func followAnyPrefix(h *harness) {
	for _, c := range []struct{ prefix, other string }{
		{"a*b:", "axxb:"}, {"a?b:", "axb:"}, {"a[xy]b:", "axb:"}, {"a[^x]b:", "ayb:"}, {`a\b:`, "ab:"}, {`a\*b:`, "a*b:"}, {"a-b:", "a-c:"}, {"äö:", "ä:"}, {"\x00\n\r:", "\x00\n:"},
	} {
		f := h.following(h.store, h.key(c.prefix))
		h.set(h.key(c.other+"k"), "value", long)
		h.deleteIf("", h.key(c.other+"k"))
		h.set(h.key(c.prefix), "value", long)
		h.learns(f, "the key that is the prefix", isChange(h.key(c.prefix), "value"))
		h.settled(f, h.key(c.prefix+"k"))
		if f.heard(isAbout(h.key(c.other + "k"))) {
			h.Errorf("a follower of %q was told of a key that begins with %q", c.prefix, c.other)
		}
		f.stop()
	}
}

func followAdvance(h *harness) {
	f := h.following(h.store, h.prefix)
	stamp := h.advance(long, h.tags("")...)
	h.learns(f, "an Advance of no tags", isAdvance(stamp))
	names := []string{""}
	for i, name := range awkward() {
		if len(name) < 1<<10 {
			names = append(names, fmt.Sprint(i, ":", name))
		}
	}
	names = append(names, "3:abc", "1:a1:b", " ", "9:")
	tags := h.tags(names...)
	h.learns(f, "an Advance of awkward tags", isAdvance(h.advance(long, tags...), tags[1:]...))
	for _, tag := range tags[1:] {
		h.learns(f, "an Advance", isAdvance(h.advance(time.Minute, tags[0], tag), tag))
	}
}

// followOtherStamps: the tags of another prefix are not told.
func followOtherStamps(h *harness) {
	f := h.following(h.store, h.prefix)
	other := h.tags("other", "other:a")
	theirs := h.advance(long, other...)
	mine := h.tags("", "mine")
	h.learns(f, "an Advance", isAdvance(h.advance(long, mine...), mine[1]))
	if f.heard(isAdvance(theirs, other[1])) {
		h.Error("a follower was told of tags that another one hands out stamps for")
	}
}

// followSeveral: each is told what it follows, whichever store it follows and whichever is written to.
func followSeveral(h *harness) {
	second := h.open()
	all := []*listener{h.following(h.store, h.prefix), h.following(second, h.prefix), h.following(h.store, h.key("a"))}
	h.set(h.key("a"), "value", long)
	_, _, err := second.Set(h.Context(), nil, h.keys("a1", "a2"), [][]byte{[]byte("1"), []byte("2")}, []time.Duration{long, long}, nil)
	h.noError("Set", err)
	stamp := h.advance(long, h.tags("", "t")...)
	for _, f := range all {
		h.learns(f, "Set", isChange(h.key("a"), "value"))
		h.learns(f, "Set in another store", isChange(h.key("a1"), "1"))
		h.learns(f, "Set in another store", isChange(h.key("a2"), "2"))
		h.learns(f, "an Advance", isAdvance(stamp, h.tags("t")...))
	}
}

func followStop(h *harness) {
	f, other := h.following(h.store, h.prefix), h.following(h.store, h.prefix)
	f.stop()
	f.stop()
	f.forget()
	key := h.key("k")
	h.set(key, "value", long)
	h.deleteIf("", key)
	h.advance(long, h.tags("", "t")...)
	h.settled(other, key)
	if f.heard(func(told) bool { return true }) {
		h.Errorf("a follower was told something after its stop: %+v", f.all)
	}
	again := h.following(h.store, h.prefix)
	h.settled(again, key)
}

// followVisible: what is told can be seen.
func followVisible(h *harness) {
	f := h.following(h.store, h.prefix)
	key := h.key("k")
	for i := range 50 {
		want := fmt.Sprintf("%-26d", i) // a change may be told twice: the head says which it is
		written := make(chan error, 1)
		go func() {
			_, _, err := h.store.Set(h.Context(), nil, []string{key}, [][]byte{[]byte(want)}, []time.Duration{long}, nil)
			written <- err
		}()
		h.eventually("a follower is told of Set", func() bool {
			return f.heard(func(t told) bool { return t.key == key && len(t.head) >= followHead && want[:len(t.head)] == t.head })
		})
		h.holds(key, want)
		h.noError("Set", <-written)
		f.forget()
	}
}
