package redisstore

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestFlushedScripts: a server that forgets the scripts costs one more round trip, and nothing else.
func TestFlushedScripts(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	spy := new(spy)
	rdb.AddHook(spy)
	s := New(rdb)
	ctx := within(t, 10*time.Second)
	keys := []string{"a", "b", "c"}
	values := [][]byte{[]byte("1"), []byte("2"), []byte("3")}
	ttls := []time.Duration{time.Minute, time.Minute, time.Minute}
	tags := []string{"{t}", "{t}a"}
	for range 3 {
		noError(t, rdb.ScriptFlush(ctx).Err())
		spy.trips.Store(0)
		server.ResetCalls()
		done, stamps, err := s.Set(ctx, nil, keys, values, ttls, tags)
		noError(t, err)
		if !done[0] || !done[1] || !done[2] || stamps[0] == 0 || stamps[1] != stamps[0] {
			t.Errorf("Set gives %v, %v", done, stamps)
		}
		if n := spy.trips.Load(); n != 2 {
			t.Errorf("%d round trips, want 2", n)
		}
		if calls := server.Calls(); calls["evalsha"] != 4 || calls["eval"] != 4 {
			t.Errorf("commands %v", calls)
		}
	}
	// Only what failed is repeated.
	noError(t, rdb.ScriptFlush(ctx).Err())
	_, err := s.Delete(ctx, nil, keys)
	noError(t, err)
	_, _, err = s.Set(ctx, nil, keys, values, ttls, nil)
	noError(t, err)
	server.ResetCalls()
	_, _, err = s.Set(ctx, nil, keys, values, ttls, tags)
	noError(t, err)
	if calls := server.Calls(); calls["evalsha"] != 4 || calls["eval"] != 1 {
		t.Errorf("commands %v, want 4 evalsha and 1 eval", calls)
	}
}

// TestFlushedScriptsOfLocks: every call does the same on a server that knows no script.
func TestFlushedScriptsOfLocks(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		spy := new(spy)
		rdb.AddHook(spy)
		s := New(rdb)
		h := holder{t, s}
		ctx := within(t, 10*time.Second)
		lock, forever := fenced(locks("a", time.Minute, "{l}1", "{l}2")), locks("c", NoExpiry, "{l}1", "{l}2")
		fence := func(c claim.Claim) bool { _, ok := h.fence(c); return ok }
		fencedLock := func(c claim.Claim) bool {
			n, ok, err := s.Lock(ctx, c, "")
			return n > 0 && ok && err == nil
		}
		for _, step := range []struct {
			name string
			call func(claim.Claim) bool
			c    claim.Claim
		}{
			{"fenced Lock", fencedLock, lock},
			{"Extend", h.extend, lock},
			{"Fence", fence, lock},
			{"Lock from another", h.lockFrom("a"), locks("b", time.Minute, lock.Keys...)},
			{"Holders", func(c claim.Claim) bool { return holds(t, s, c) }, locks("b", time.Minute, "{l}1")},
			{"Unlock", h.unlock, locks("b", 0, lock.Keys...)},
			{"Lock for ever", h.lock, forever},
			{"Extend for ever", h.extend, forever},
			{"Unlock of for ever", h.unlock, forever},
			{"Lock of a slot", h.lock, slot("a", time.Minute, "sem", 1)},
			{"Extend of a slot", h.extend, slot("a", time.Minute, "sem", 1)},
			{"Lock of a slot from another", h.lockFrom("a"), slot("b", time.Minute, "sem", 1)},
			{"Holders of slots", func(c claim.Claim) bool { return holds(t, s, c) }, slot("b", time.Minute, "sem", 1)},
			{"Unlock of a slot", h.unlock, slot("b", 0, "sem", 1)},
		} {
			noError(t, rdb.ScriptFlush(ctx).Err())
			spy.trips.Store(0)
			if !step.call(step.c) {
				t.Errorf("%s fails", step.name)
			}
			if n := spy.trips.Load(); n != 2 {
				t.Errorf("%s: %d round trips, want 2", step.name, n)
			}
		}

		// The second script of a call must not run before the first.
		noError(t, rdb.ScriptFlush(ctx).Err())
		noError(t, rdb.ScriptLoad(ctx, fenceSource).Err())
		if !fencedLock(lock) {
			t.Error("a fenced Lock fails where the server knows the second script only")
		}
	})
}

// TestFlushedScriptsInMidUse flushes on and on while all methods are used.
func TestFlushedScriptsInMidUse(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	flushInMidUse(t, New(rdb), func(ctx context.Context) error { return rdb.ScriptFlush(ctx).Err() })
}

func TestFlushedScriptsInMidUseOnCluster(t *testing.T) {
	rdb := redistest.StartCluster(t).Client(t)
	flushInMidUse(t, New(rdb), func(ctx context.Context) error {
		return rdb.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return node.ScriptFlush(ctx).Err() })
	})
}

func flushInMidUse(t *testing.T, s *Store, flush func(ctx context.Context) error) {
	t.Helper()
	ctx := within(t, 20*time.Second)
	over := make(chan struct{})
	var flushing sync.WaitGroup
	flushing.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
			}
			if err := flush(ctx); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 30 {
				for _, m := range methods {
					err := m.call(ctx, s)
					if err == nil || strings.Contains(err.Error(), "lost before its fencing token") {
						continue // the others use the same token, and unlock
					}
					// The script itself is sent after a NOSCRIPT, which can't be lost to another flush.
					t.Errorf("%s: %v", m.name, err)
				}
			}
		})
	}
	group.Wait()
	close(over)
	flushing.Wait()
}

// TestStampsAgree has keep.lua and parseStamp decide about the same texts.
func TestStampsAgree(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := within(t, 10*time.Second)
		for _, text := range []string{
			"1", "7", "1700000000000000", "9007199254740991", // stamps
			"", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x10", "abc", "1\n", "1\x00", "١", "nan", "inf",
			"9007199254740992", "9007199254740993", "9999999999999999", "99999999999999999", "99999999999999999999", "18446744073709551617",
		} {
			noError(t, rdb.Set(ctx, "{t}a", text, 0).Err())
			want := parseStamp(text)
			_, read, err := s.Get(ctx, nil, []string{"{t}a"}, nil)
			noError(t, err)
			_, kept, err := s.Set(ctx, nil, nil, nil, nil, []string{"{t}", "{t}a"})
			noError(t, err)
			if read[0] != want || (want != 0) != (kept[1] == want) {
				t.Errorf("%q: parsed %d, read %d, kept %d", text, want, read[0], kept[1])
			}
			noError(t, rdb.Set(ctx, "{u}", text, 0).Err())
			stamp, err := s.Advance(ctx, time.Minute, []string{"{u}"})
			noError(t, err)
			if now := time.Now().UnixMicro(); want > now && want < maxStamp && stamp != want+1 || want < now && (stamp < now-60e6 || stamp > now+60e6) {
				t.Errorf("%q: Advance gives %d", text, stamp)
			}
		}
	})
}

// TestRepairedTags: a tag of another type counts as absent.
func TestRepairedTags(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := within(t, 10*time.Second)
		tags := []string{"{t}", "{t}a"}
		for i := range tags {
			noError(t, rdb.Del(ctx, tags...).Err())
			noError(t, rdb.HSet(ctx, tags[i], "f", "v").Err())
			_, stamps, err := s.Get(ctx, nil, tags, nil)
			noError(t, err)
			if stamps[i] != 0 {
				t.Errorf("a hash gives stamp %d", stamps[i])
			}
			_, kept, err := s.Set(ctx, nil, nil, nil, nil, tags)
			noError(t, err)
			if kept[0] == 0 || kept[1] != kept[0] {
				t.Errorf("kept %d", kept)
			}
			noError(t, rdb.Del(ctx, tags[i]).Err())
			noError(t, rdb.HSet(ctx, tags[i], "f", "v").Err())
			stamp, err := s.Advance(ctx, time.Minute, tags)
			noError(t, err)
			_, stamps, err = s.Get(ctx, nil, tags, nil)
			noError(t, err)
			if stamps[0] != stamp || stamps[1] != stamp {
				t.Errorf("Advance gives %d, then there is %d", stamp, stamps)
			}
		}
	})
}

// TestTagsTTL looks at the times to live themselves; storetest sees only that tags are there.
func TestTagsTTL(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := within(t, 10*time.Second)
		set := func(ttls ...time.Duration) func() error {
			return func() error {
				keys := []string{"a", "b"}[:len(ttls)]
				values := [][]byte{[]byte("1"), []byte("2")}[:len(ttls)]
				_, _, err := s.Set(ctx, nil, keys, values, ttls, []string{"{t}", "{t}a"})
				return err
			}
		}
		advance := func(ttl time.Duration) func() error {
			return func() error {
				_, err := s.Advance(ctx, ttl, []string{"{t}", "{t}a"})
				return err
			}
		}
		const none = -1 * time.Nanosecond // as go-redis says it
		for _, test := range []struct {
			name  string
			steps []func() error
			want  time.Duration
		}{
			{"Set", []func() error{set(time.Hour)}, time.Hour},
			{"Set, longest", []func() error{set(time.Minute, time.Hour)}, time.Hour},
			{"Set, longest first", []func() error{set(time.Hour, time.Minute)}, time.Hour},
			{"Set, no expiry", []func() error{set(NoExpiry, time.Minute)}, none},
			{"Set, no expiry last", []func() error{set(time.Minute, NoExpiry)}, none},
			{"Set longer", []func() error{set(time.Minute), set(time.Hour)}, time.Hour},
			{"Set shorter", []func() error{set(time.Hour), set(time.Minute)}, time.Hour},
			{"Set, then no expiry", []func() error{set(time.Hour), set(NoExpiry)}, none},
			{"no expiry, then Set", []func() error{set(NoExpiry), set(time.Hour)}, none},
			{"Advance", []func() error{advance(time.Hour)}, time.Hour},
			{"Advance longer", []func() error{set(time.Minute), advance(time.Hour)}, time.Hour},
			{"Advance shorter", []func() error{set(time.Hour), advance(time.Minute)}, time.Hour},
			{"Advance, no expiry", []func() error{set(time.Hour), advance(NoExpiry)}, none},
			{"no expiry, then Advance", []func() error{advance(NoExpiry), advance(time.Hour)}, none},
		} {
			noError(t, rdb.Del(ctx, "{t}", "{t}a").Err())
			for _, step := range test.steps {
				noError(t, step())
			}
			if got := rdb.PTTL(ctx, "{t}a").Val(); got > test.want || got < test.want-10*time.Second {
				t.Errorf("%s: the tag lives for %v, want %v", test.name, got, test.want)
			}
			if got := rdb.PTTL(ctx, "{t}").Val(); got != none {
				t.Errorf("%s: the first tag lives for %v, want for ever", test.name, got)
			}
		}
	})
}
