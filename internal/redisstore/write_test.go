package redisstore

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

// TestHeads has the cases that storetest leaves to the store: heads that are empty but not nil, values shorter than the head,
// and keys of another type.
func TestHeads(t *testing.T) {
	const absent, hash = "(absent)", "(hash)"
	for _, test := range []struct {
		name    string
		present string
		head    []byte
		value   string
		set     bool   // what Set gives
		after   string // what is there after it
		other   bool   // what Expire and Delete give
	}{
		{"absent, nil head", absent, nil, "new", true, "new", false},
		{"absent, empty head", absent, []byte{}, "new", true, "new", false},
		{"absent, head", absent, []byte("old"), "new", false, absent, false},
		{"empty head", "old", []byte{}, "new", true, "new", true},
		{"empty value, empty head", "", []byte{}, "new", true, "new", true},
		{"head", "old value", []byte("old"), "new value", true, "new value", true},
		{"another head", "old value", []byte("abc"), "new value", false, "old value", false},
		{"own value", "new value", []byte("old"), "new other", true, "new value", false},
		{"own value, shorter than the head", "ne", []byte("old"), "ne", true, "ne", false},
		{"shorter than the head, another there", "nex", []byte("old"), "ne", false, "nex", false},
		{"hash, nil head", hash, nil, "new", true, "new", true},
		{"hash, empty head", hash, []byte{}, "new", true, "new", true},
		{"hash, head", hash, []byte("old"), "new", false, hash, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			onEach(t, func(t *testing.T, rdb *redis.Client) {
				s := New(rdb)
				ctx := within(t, 5*time.Second)
				given := func() {
					noError(t, rdb.Del(ctx, "k").Err())
					switch test.present {
					case absent:
					case hash:
						noError(t, rdb.HSet(ctx, "k", "f", "v").Err())
					default:
						noError(t, rdb.Set(ctx, "k", test.present, 0).Err())
					}
				}
				given()
				done, err := s.Expire(ctx, test.head, time.Hour, []string{"k"})
				noError(t, err)
				if left := rdb.PTTL(ctx, "k").Val(); done[0] != test.other || (left > 0) != test.other {
					t.Errorf("Expire gives %t and leaves %v, want %t", done[0], left, test.other)
				}
				given()
				done, _, err = s.Set(ctx, test.head, []string{"k"}, [][]byte{[]byte(test.value)}, []time.Duration{NoExpiry}, nil)
				noError(t, err)
				after, err := rdb.Get(ctx, "k").Result()
				switch {
				case errors.Is(err, redis.Nil):
					after = absent
				case err != nil:
					after = hash
				}
				if done[0] != test.set || after != test.after {
					t.Errorf("Set gives %t and leaves %q, want %t and %q", done[0], after, test.set, test.after)
				}
				given()
				done, err = s.Delete(ctx, test.head, []string{"k"})
				noError(t, err)
				gone := test.present != absent && rdb.Exists(ctx, "k").Val() == 0
				if done[0] != test.other || gone != test.other {
					t.Errorf("Delete gives %t, gone: %t, want %t", done[0], gone, test.other)
				}
			})
		})
	}
}

// TestWrongType: reading a key of another type is an error that names the key.
func TestWrongType(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := within(t, 5*time.Second)
		noError(t, rdb.HSet(ctx, "hash", "f", "v").Err())
		_, _, get := s.Get(ctx, []string{"hash"}, nil, nil)
		_, _, lease := s.Lease(ctx, []byte("lease"), time.Minute, []string{"hash"}, nil, nil)
		_, _, lock := s.Lock(ctx, locks("token", time.Minute, "hash"), "")
		_, _, forever := s.Lock(ctx, locks("token", NoExpiry, "hash"), "")
		for what, err := range map[string]error{"get": get, "lease": lease, "lock": lock, "lock for ever": forever} {
			if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.HasPrefix(err.Error(), `cachify: redis: key "hash": `) {
				t.Errorf("%s: error %v", what, err)
			}
		}
		values, _, err := s.Get(ctx, []string{"hash", "k"}, nil, nil)
		noError(t, err)
		if values[0] != nil {
			t.Errorf("Get of several gives %q", values[0])
		}
	})
}

// TestRefusedWrites: a master that takes no writes still serves what it has.
func TestRefusedWrites(t *testing.T) {
	for _, test := range []struct {
		name   string
		refuse func(t *testing.T, rdb *redis.Client)
		delete bool // still possible
	}{
		{"OOM", func(t *testing.T, rdb *redis.Client) { config(t, rdb, "maxmemory", "1") }, true},
		{"NOREPLICAS", func(t *testing.T, rdb *redis.Client) { config(t, rdb, "min-replicas-to-write", "1") }, false},
		{"MISCONF", failSnapshot, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			rdb := redistest.Start(t).Client(t)
			s := New(rdb)
			ctx := within(t, 10*time.Second)
			tags := []string{"{t}", "{t}a"}
			_, stamps, err := s.Set(ctx, nil, []string{"a", "b"}, [][]byte{[]byte("1"), {}}, []time.Duration{time.Minute, time.Minute}, tags)
			noError(t, err)
			test.refuse(t, rdb)
			values, read, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{"a", "b"}, tags, nil)
			noError(t, err)
			if string(values[0]) != "1" || values[1] == nil || read[0] != stamps[0] || read[1] != stamps[1] {
				t.Errorf("Lease gives %q, %d", values, read)
			}
			_, _, err = s.Lease(ctx, []byte("lease"), time.Minute, []string{"a", "absent"}, nil, nil)
			if err == nil || !redis.HasErrorPrefix(err, test.name) {
				t.Errorf("Lease of what is absent gives error %v, want %s", err, test.name)
			}
			_, _, err = s.Set(ctx, nil, []string{"a"}, [][]byte{[]byte("2")}, []time.Duration{time.Minute}, tags)
			if err == nil || !redis.HasErrorPrefix(err, test.name) {
				t.Errorf("Set gives error %v, want %s", err, test.name)
			}
			done, err := s.Delete(ctx, nil, []string{"a"})
			if test.delete && (err != nil || !done[0]) || !test.delete && err == nil {
				t.Errorf("Delete gives %v, %v", done, err)
			}
		})
	}
}

func config(t *testing.T, rdb *redis.Client, name, value string) {
	t.Helper()
	noError(t, rdb.ConfigSet(t.Context(), name, value).Err())
}

// failSnapshot takes the folder away from under the server's snapshot.
func failSnapshot(t *testing.T, rdb *redis.Client) {
	t.Helper()
	config(t, rdb, "save", "3600 1")
	dir := rdb.ConfigGet(t.Context(), "dir").Val()["dir"]
	if !filepath.IsAbs(dir) {
		t.Fatalf("the server's folder is %q", dir)
	}
	noError(t, os.RemoveAll(dir))
	noError(t, rdb.BgSave(t.Context()).Err())
	waitFor(t, "the snapshot fails", func() bool {
		return strings.Contains(rdb.Info(t.Context(), "persistence").Val(), "rdb_last_bgsave_status:err")
	})
}

// TestReplicaIsNoStore: what a replica has may be gone from the store already.
func TestReplicaIsNoStore(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	s := New(rdb)
	ctx := within(t, 10*time.Second)
	_, _, err := s.Set(ctx, nil, []string{"k"}, [][]byte{[]byte("v")}, []time.Duration{time.Minute}, nil)
	noError(t, err)
	noError(t, rdb.Do(ctx, "REPLICAOF", "127.0.0.1", "1").Err())
	values, _, err := s.Lease(ctx, []byte("lease"), time.Minute, []string{"k"}, nil, nil)
	if err == nil || !redis.HasErrorPrefix(err, "READONLY") {
		t.Errorf("Lease gives %q, %v, want READONLY", values, err)
	}
}
