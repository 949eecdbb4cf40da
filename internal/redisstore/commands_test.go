package redisstore

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestLockCommands counts what the server does for the calls of locks, each in one round trip.
func TestLockCommands(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	spy := new(spy)
	rdb.AddHook(spy)
	s := New(rdb)
	h := holder{t, s}
	ctx := within(t, 10*time.Second)
	for _, m := range methods {
		noError(t, m.call(ctx, s)) // the scripts are known now
	}
	noError(t, rdb.FlushAll(ctx).Err())
	lock, sem := locks("a", time.Minute, "k"), slot("a", time.Minute, "sem", 1)
	type counts = map[string]int
	for _, test := range []struct {
		name string
		call func(c claim.Claim) bool
		c    claim.Claim
		want counts
	}{
		{"Lock", h.lock, lock, counts{"evalsha": 1, "msetnx": 1, "pexpire": 1}},
		{"Extend", h.extend, lock, counts{"evalsha": 1, "get": 1, "pexpire": 1}},
		{"Lock from another", h.lockFrom("a"), locks("b", time.Minute, "k"), counts{"evalsha": 1, "get": 1, "set": 1}},
		{"Unlock", h.unlock, locks("b", 0, "k"), counts{"evalsha": 1, "mget": 1, "del": 1, "publish": 1}},
		{"fenced Lock", h.lock, fenced(lock), counts{"evalsha": 2, "msetnx": 1, "pexpire": 1, "get": 2, "time": 1, "set": 1}},
		{"Fence", func(c claim.Claim) bool { _, ok := h.fence(c); return ok }, fenced(lock), counts{"evalsha": 1, "get": 2, "set": 1}},
		{"Unlock fenced", h.unlock, fenced(lock), counts{"evalsha": 1, "mget": 1, "del": 1, "publish": 1}},
		{"Lock for ever", h.lock, locks("a", NoExpiry, "k"), counts{"evalsha": 1, "get": 1, "set": 1}},
		{"Holders", func(c claim.Claim) bool { return holds(t, s, c) }, lock, counts{"evalsha": 1, "get": 1, "pttl": 1}},
		{"refused Lock", not(h.lock), locks("b", time.Minute, "k"), counts{"evalsha": 1, "msetnx": 1, "getrange": 1}},
		{"Lock of a slot", h.lock, sem, counts{"evalsha": 1, "time": 1, "zremrangebyscore": 1, "zcard": 1, "zadd": 1, "zrange": 1, "pexpireat": 1}},
		{"refused Lock of a slot", not(h.lock), slot("b", time.Minute, "sem", 1), counts{"evalsha": 1, "time": 1, "zremrangebyscore": 1, "zcard": 1, "zscore": 1}},
		{"Holders of slots", func(c claim.Claim) bool { return holds(t, s, c) }, sem, counts{"evalsha": 1, "time": 1, "zrangebyscore": 1}},
		{"Unlock of a slot", h.unlock, sem, counts{"evalsha": 1, "time": 1, "zremrangebyscore": 1, "zrem": 1, "zrange": 1, "publish": 1}},
		{"Lock of two", h.lock, locks("a", time.Minute, "l", "m"), counts{"evalsha": 1, "msetnx": 1, "pexpire": 2}},
		{"Unlock of two", h.unlock, locks("a", 0, "l", "m"), counts{"evalsha": 2, "mget": 2, "del": 2, "publish": 2}},
	} {
		server.ResetCalls()
		spy.trips.Store(0)
		if !test.call(test.c) {
			t.Errorf("%s fails", test.name)
		}
		trips, calls := spy.trips.Load(), server.Calls()
		maps.DeleteFunc(calls, func(name string, _ int) bool { return strings.HasPrefix(name, "client|") || name == "ping" })
		if trips != 1 || !maps.Equal(calls, test.want) {
			t.Errorf("%s: %d round trips, commands %v; want 1, %v", test.name, trips, calls, test.want)
		}
	}
}

func not(call func(claim.Claim) bool) func(claim.Claim) bool {
	return func(c claim.Claim) bool { return !call(c) }
}

func holds(t *testing.T, s *Store, c claim.Claim) bool {
	tokens, _, err := s.Holders(t.Context(), c.Keys[0], c.Slots > 0)
	noError(t, err)
	return len(tokens) == 1 && tokens[0] == c.Token
}
