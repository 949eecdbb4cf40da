package redisstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// TestLockTokens has what storetest leaves to the store: tokens that begin alike, and locks of stores that did not obtain them.
func TestLockTokens(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		a, b := New(rdb), New(rdb)
		ctx := within(t, 10*time.Second)
		for _, ttl := range []time.Duration{time.Minute, NoExpiry} {
			noError(t, rdb.Del(ctx, "k").Err())
			for _, step := range []struct {
				name string
				call func() (bool, error)
				want bool
			}{
				{"Lock", func() (bool, error) { return a.Lock(ctx, "k", "token-1", ttl) }, true},
				{"Lock again", func() (bool, error) { return a.Lock(ctx, "k", "token-1", ttl) }, true},
				{"Lock with a beginning", func() (bool, error) { return b.Lock(ctx, "k", "token", ttl) }, false},
				{"Lock with more", func() (bool, error) { return b.Lock(ctx, "k", "token-12", ttl) }, false},
				{"Extend with a beginning", func() (bool, error) { return b.Extend(ctx, "k", "token", ttl) }, false},
				{"Extend with more", func() (bool, error) { return b.Extend(ctx, "k", "token-12", ttl) }, false},
				{"Unlock with a beginning", func() (bool, error) { return b.Unlock(ctx, "k", "token") }, false},
				{"Unlock with more", func() (bool, error) { return b.Unlock(ctx, "k", "token-12") }, false},
				{"Extend from elsewhere", func() (bool, error) { return b.Extend(ctx, "k", "token-1", ttl) }, true},
				{"Unlock from elsewhere", func() (bool, error) { return b.Unlock(ctx, "k", "token-1") }, true},
				{"Unlock again", func() (bool, error) { return a.Unlock(ctx, "k", "token-1") }, false},
				{"Extend of what is free", func() (bool, error) { return a.Extend(ctx, "k", "token-1", ttl) }, false},
			} {
				got, err := step.call()
				noError(t, err)
				if got != step.want {
					t.Errorf("%s for %v gives %t, want %t", step.name, ttl, got, step.want)
				}
			}
			if n := rdb.Exists(ctx, "k").Val(); n != 0 {
				t.Errorf("there is a lock after all")
			}
		}
	})
}

func TestLockTTL(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := t.Context() // without a deadline: redislock must not make one of the ttl
		const none = -1 * time.Nanosecond
		for _, step := range []struct {
			lock bool
			ttl  time.Duration
			want time.Duration
		}{
			{true, time.Minute, time.Minute},
			{false, time.Hour, time.Hour},
			{false, NoExpiry, none},
			{false, time.Minute, time.Minute},
			{true, NoExpiry, none}, // recognises itself
			{true, time.Hour, time.Hour},
		} {
			ok, err := false, error(nil)
			if step.lock {
				ok, err = s.Lock(ctx, "k", "token", step.ttl)
			} else {
				ok, err = s.Extend(ctx, "k", "token", step.ttl)
			}
			noError(t, err)
			if got := rdb.PTTL(ctx, "k").Val(); !ok || got > step.want || got < step.want-10*time.Second {
				t.Errorf("%+v: %t, %v", step, ok, got)
			}
		}
		for i := range 100 {
			key := fmt.Sprint("short", i)
			if ok, err := s.Lock(ctx, key, "token", 1); !ok || err != nil {
				t.Fatalf("a lock for a nanosecond: %t, %v", ok, err)
			}
			if _, err := s.Extend(ctx, key, "token", 1); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLockRefusesAnEmptyToken(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	s := New(rdb)
	_, lock := s.Lock(t.Context(), "k", "", time.Minute)
	_, extend := s.Extend(t.Context(), "k", "", time.Minute)
	_, unlock := s.Unlock(t.Context(), "k", "")
	for _, err := range []error{lock, extend, unlock} {
		if err == nil || !strings.Contains(err.Error(), "must not be empty") {
			t.Errorf("error %v", err)
		}
	}
}

// TestUnlockTellsAfterwards: who is told of an Unlock finds the lock free.
func TestUnlockTellsAfterwards(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		s.Open()
		defer s.Close()
		ctx := within(t, 20*time.Second)
		changes, stop := s.Watch("k")
		defer stop()
		receive(t, changes)
		for range 50 {
			ok, err := s.Lock(ctx, "k", "token", time.Minute)
			noError(t, err)
			if !ok {
				t.Fatal("the lock is not free")
			}
			ok, err = s.Unlock(ctx, "k", "token")
			noError(t, err)
			if !ok {
				t.Fatal("the lock was lost")
			}
			receive(t, changes)
		}
	})
}
