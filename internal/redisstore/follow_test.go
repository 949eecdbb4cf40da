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

// changes is a follower that tells of the keys of changes, and of Live as an empty one.
type changes chan string

func (c changes) Live(bool)                    { c <- "" }
func (changes) Failed(error)                   {}
func (c changes) Changed(key string, _ []byte) { c <- key }
func (changes) Advanced(int64, []string)       {}

// TestFollowOfAPrefixThatIsNotUTF8 needs a real server: miniredis can't subscribe to such a pattern.
func TestFollowOfAPrefixThatIsNotUTF8(t *testing.T) {
	store := New(redistest.Start(t).Client(t))
	for prefix, other := range map[string]string{"\xff\xfe:": "\xff:", "\xc3(*:": "\xc3(:"} {
		told := make(changes, 10)
		stop := store.Follow(prefix, "{p}", told)
		if key := <-told; key != "" {
			t.Fatalf("the follower was told of %q before it was live", key)
		}
		for _, key := range []string{other + "k", prefix + "k"} {
			if _, _, err := store.Set(t.Context(), nil, []string{key}, [][]byte{[]byte("v")}, []time.Duration{time.Minute}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if key := <-told; key != prefix+"k" {
			t.Errorf("the follower of %q was told of %q", prefix, key)
		}
		stop()
	}
}
