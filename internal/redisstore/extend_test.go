package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestExtend extends claims of all kinds at once, each for its own time, and some that it can't.
func TestExtend(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		h := holder{t, s}
		ctx := within(t, 10*time.Second)
		noError(t, rdb.HSet(ctx, "hash", "f", "v").Err())
		const none = -1 * time.Nanosecond
		tests := []struct {
			name string
			c    claim.Claim
			held bool
			want time.Duration
			err  string
		}{
			{"lock", locks("a", time.Hour, "1"), true, time.Hour, ""},
			{"locks", locks("b", 2*time.Hour, "2", "3"), true, 2 * time.Hour, ""},
			{"for ever", locks("c", NoExpiry, "4"), true, none, ""},
			{"many for ever", locks("d", NoExpiry, "5", "6"), true, none, ""},
			{"slot", slot("e", 3*time.Hour, "7", 2), true, 3 * time.Hour, ""},
			{"slot for ever", slot("f", NoExpiry, "8", 2), true, none, ""},
			{"lost", locks("g", time.Hour, "9"), false, 0, ""},
			{"one lost", locks("a", time.Hour, "1", "9"), false, 0, ""},
			{"lost for ever", locks("g", NoExpiry, "9"), false, 0, ""},
			{"slot lost", slot("g", time.Hour, "10", 2), false, 0, ""},
			{"of another type", locks("g", time.Hour, "9", "hash"), false, 0, "WRONGTYPE"},
			{"slot of another type", slot("g", time.Hour, "hash", 2), false, 0, "WRONGTYPE"},
			{"ttl", locks("a", -2, "1"), false, 0, "must be positive"},
			{"token", locks("", time.Hour, "1"), false, 0, "must not be empty"},
		}
		var claims []claim.Claim
		for _, test := range tests {
			if test.held {
				c := test.c
				c.TTL = time.Minute
				h.lock(c)
			}
			claims = append(claims, test.c)
		}
		done, errs := s.Extend(ctx, claims)
		for i, test := range tests {
			if done[i] != test.held || (errs[i] != nil) != (test.err != "") || test.err != "" && !strings.Contains(errs[i].Error(), test.err) {
				t.Errorf("%s: %t, %v", test.name, done[i], errs[i])
			}
			for _, key := range test.c.Keys {
				if got := rdb.PTTL(ctx, key).Val(); test.held && (got > test.want || got < test.want-10*time.Second) {
					t.Errorf("%s: %s lives for %v, want %v", test.name, key, got, test.want)
				}
			}
		}
		if n := rdb.Exists(ctx, "9", "10").Val(); n != 0 {
			t.Error("Extend has made a key")
		}
		if done, errs := s.Extend(ctx, claims[:6]); errs != nil || len(done) != 6 {
			t.Errorf("without errors: %v, %v", done, errs)
		}
		if done, errs := s.Extend(ctx, nil); errs != nil || len(done) != 0 {
			t.Errorf("nothing: %v, %v", done, errs)
		}
	})
}

// TestExtendMany: thousands go in a few round trips, also when the server knows no script.
func TestExtendMany(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	spy := new(spy)
	rdb.AddHook(spy)
	s := New(rdb)
	ctx := within(t, 30*time.Second)
	const n = 5000
	claims := make([]claim.Claim, n)
	pipe := rdb.Pipeline()
	for i := range claims {
		key := fmt.Sprint("k", i)
		switch {
		case i%3 == 0:
			claims[i] = slot("token", time.Hour, key, 2)
			pipe.ZAdd(ctx, key, redis.Z{Score: 8e15, Member: held(i)})
		default:
			claims[i] = locks("token", time.Hour, key)
			pipe.Set(ctx, key, held(i), time.Minute)
		}
	}
	_, err := pipe.Exec(ctx)
	noError(t, err)
	for _, flushed := range []bool{false, true, false} {
		if flushed {
			noError(t, rdb.ScriptFlush(ctx).Err())
		}
		spy.trips.Store(0)
		start := time.Now()
		done, errs := s.Extend(ctx, claims)
		t.Logf("%d claims in %v, %d round trips", n, time.Since(start), spy.trips.Load())
		if errs != nil {
			t.Fatal(errors.Join(errs...))
		}
		for i := range done {
			if done[i] != (held(i) == "token") {
				t.Fatalf("claim %d: %t", i, done[i])
			}
		}
		if trips := spy.trips.Load(); trips < 20 || trips > 21 || flushed && trips != 21 {
			t.Errorf("%d round trips", trips)
		}
	}
	pipe = rdb.Pipeline()
	for i := range claims {
		pipe.PTTL(ctx, fmt.Sprint("k", i))
	}
	cmds, err := pipe.Exec(ctx)
	noError(t, err)
	for i, cmd := range cmds {
		if ttl := cmd.(*redis.DurationCmd).Val(); (ttl > 50*time.Minute) != (held(i) == "token") {
			t.Fatalf("k%d lives for %v", i, ttl)
		}
	}
}

// held says who holds the lock of a number: now and then it is somebody else.
func held(i int) string {
	if i%100 == 99 {
		return "other"
	}
	return "token"
}

// TestExtendOnCluster: what a node that is down or silent has, is not known; the rest is extended.
func TestExtendOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, "cluster-require-full-coverage no")
	for _, enabled := range []bool{false, true} {
		rdb := cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = enabled })
		s := New(rdb)
		ctx := within(t, 30*time.Second)
		const n = 2000
		claims := make([]claim.Claim, n)
		on := make([]string, n) // the address of its node
		pipe := rdb.Pipeline()
		for i := range claims {
			key := fmt.Sprint("k", i)
			claims[i] = locks("token", time.Hour, key)
			node, err := rdb.MasterForKey(ctx, key)
			noError(t, err)
			on[i] = node.Options().Addr
			pipe.Set(ctx, key, "token", time.Hour)
		}
		_, err := pipe.Exec(ctx)
		noError(t, err)
		check := func(state, down string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			start := time.Now()
			done, errs := s.Extend(ctx, claims)
			if took := time.Since(start); took > 2*time.Second {
				t.Errorf("%s: took %v", state, took)
			}
			for i := range claims {
				if failed := errs != nil && errs[i] != nil; failed != (on[i] == down) || done[i] == failed {
					t.Fatalf("ContextTimeoutEnabled %t, %s: claim %d on %s is %t, %v; %s is down", enabled, state, i, on[i], done[i], errs[i], down)
				}
			}
		}
		check("all up", "")
		node := cluster.Nodes[1]
		node.Stop()
		check("silent", node.Addr())
		node.Cont()
		check("up again", "")
		if enabled { // the last
			node.Kill()
			check("dead", node.Addr())
		}
	}
}
