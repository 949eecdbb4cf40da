package redisstore

import (
	"slices"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

func TestParseAdvance(t *testing.T) {
	for _, test := range []struct {
		payload string
		stamp   int64
		tags    []string
		ok      bool
	}{
		{"17 ", 17, nil, true},
		{"17", 17, nil, true},
		{"17 3:a:b", 17, []string{"a:b"}, true},
		{"17 3:1:a0:1:\x00", 17, []string{"1:a", "", "\x00"}, true},
		{"", 0, nil, false},
		{"x 1:a", 0, nil, false},
		{"0 1:a", 0, nil, false},
		{"17 2:a", 0, nil, false},
		{"17 -1:a", 0, nil, false},
		{"17 a", 0, nil, false},
		{"17 1:ab", 0, nil, false},
	} {
		stamp, tags, ok := parseAdvance(test.payload)
		if stamp != test.stamp || !slices.Equal(tags, test.tags) || ok != test.ok {
			t.Errorf("parseAdvance(%q) is %d, %q, %t", test.payload, stamp, tags, ok)
		}
	}
}

// liveness is a follower that tells of Live alone.
type liveness chan bool

func (s liveness) Live(live bool)         { s <- live }
func (liveness) Failed(error)             {}
func (liveness) Changed(string, []byte)   {}
func (liveness) Advanced(int64, []string) {}
func (s liveness) next(t *testing.T) (live bool) {
	t.Helper()
	select {
	case live = <-s:
	case <-time.After(2*followPing + 3*time.Second):
		t.Fatal("the follower was told nothing")
	}
	return live
}

// TestFollowOfAHungNode: one node that hangs is enough for a follower of a Cluster to be told at once that it misses changes, whatever
// else waits for that node.
func TestFollowOfAHungNode(t *testing.T) {
	cluster := redistest.StartCluster(t)
	store := New(cluster.Client(t))
	told := make(liveness, 10)
	stop := store.Follow("p:", "{p}", told)
	defer stop()
	if !told.next(t) {
		t.Fatal("the follower was told Live(false) first")
	}
	cluster.Nodes[1].Stop()
	defer cluster.Nodes[1].Cont()
	began := time.Now()
	if told.next(t) {
		t.Fatal("the follower was told Live(true) again")
	}
	if took := time.Since(began); took > 2*followPing+500*time.Millisecond {
		t.Errorf("it took %v until the follower was told, want at most %v", took, 2*followPing)
	}
}

// changes is a follower that tells of keys that have changed.
type changes chan string

func (changes) Live(bool)                      {}
func (changes) Failed(error)                   {}
func (c changes) Changed(key string, _ []byte) { c <- key }
func (changes) Advanced(int64, []string)       {}

// TestFollowOfABinaryPrefix: miniredis knows no patterns that are not UTF-8, so package storetest leaves these out.
func TestFollowOfABinaryPrefix(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	store, ctx := New(rdb), within(t, 30*time.Second)
	for _, c := range []struct{ prefix, other string }{{"\xff\xfe:", "\xff:"}, {"\xc3(*:", "\xc3(:"}, {"\x00\n\r:", "\x00\n:"}} {
		told := make(changes, 10)
		stop := store.Follow(c.prefix, c.prefix+"stamps", told)
		for got := ""; got == ""; { // until it is subscribed
			noError(t, rdb.Publish(ctx, c.other+"k", "").Err())
			noError(t, rdb.Publish(ctx, c.prefix+"k", "").Err())
			select {
			case got = <-told:
			case <-time.After(10 * time.Millisecond):
			}
			if got != "" && got != c.prefix+"k" {
				t.Errorf("a follower of %q was told of %q", c.prefix, got)
			}
		}
		stop()
	}
}
