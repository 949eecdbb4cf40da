package redisstore

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{}) // these tests take servers down, which go-redis logs at length
	os.Exit(m.Run())
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// onEach runs test on miniredis and on a real server.
func onEach(t *testing.T, test func(t *testing.T, rdb *redis.Client)) {
	t.Run("miniredis", func(t *testing.T) {
		rdb, _ := redistest.Mini(t)
		test(t, rdb)
	})
	t.Run("server", func(t *testing.T) { test(t, redistest.Start(t).Client(t)) })
}

// within gives a ctx as callers do, with a deadline.
func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The methods that do I/O, for tests of what holds for all of them.
var methods = []struct {
	name string
	call func(ctx context.Context, s *Store) error
}{
	{"Get", func(ctx context.Context, s *Store) error {
		_, _, err := s.Get(ctx, []string{"k"}, nil, nil)
		return err
	}},
	{"Get with tags", func(ctx context.Context, s *Store) error {
		_, _, err := s.Get(ctx, []string{"k"}, []string{"{t}", "{t}a"}, nil)
		return err
	}},
	{"Lease", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lease(ctx, []byte("lease"), time.Second, []string{"k"}, nil, nil)
		return err
	}},
	{"Lease with tags", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lease(ctx, []byte("lease"), time.Second, []string{"k", "l"}, []string{"{t}", "{t}a"}, nil)
		return err
	}},
	{"Set", func(ctx context.Context, s *Store) error {
		_, _, err := s.Set(ctx, nil, []string{"k"}, [][]byte{[]byte("v")}, []time.Duration{time.Second}, []string{"{t}"})
		return err
	}},
	{"Expire", func(ctx context.Context, s *Store) error {
		_, err := s.Expire(ctx, nil, time.Second, []string{"k"})
		return err
	}},
	{"Delete", func(ctx context.Context, s *Store) error {
		_, err := s.Delete(ctx, nil, []string{"k"})
		return err
	}},
	{"Advance", func(ctx context.Context, s *Store) error {
		_, err := s.Advance(ctx, time.Second, []string{"{t}"})
		return err
	}},
	{"Lock", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lock(ctx, locks("token", time.Minute, "lock"), "")
		return err
	}},
	{"Lock of many, fenced", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lock(ctx, fenced(locks("token", time.Minute, "{l}a", "{l}b")), "")
		return err
	}},
	{"Lock for ever", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lock(ctx, locks("token", NoExpiry, "lock"), "")
		return err
	}},
	{"Lock from another", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lock(ctx, locks("token", time.Minute, "lock"), "token")
		return err
	}},
	{"Lock of a slot", func(ctx context.Context, s *Store) error {
		_, _, err := s.Lock(ctx, slot("token", time.Minute, "sem", 2), "")
		return err
	}},
	{"Fence", func(ctx context.Context, s *Store) error {
		_, _, err := s.Fence(ctx, fenced(locks("token", time.Minute, "lock")))
		return err
	}},
	{"Holders", func(ctx context.Context, s *Store) error {
		_, _, err := s.Holders(ctx, "lock", false)
		return err
	}},
	{"Holders of slots", func(ctx context.Context, s *Store) error {
		_, _, err := s.Holders(ctx, "sem", true)
		return err
	}},
	{"Extend", func(ctx context.Context, s *Store) error {
		_, errs := s.Extend(ctx, []claim.Claim{
			locks("token", time.Minute, "lock"), locks("token", NoExpiry, "lock"), slot("token", time.Minute, "sem", 2),
		})
		return errors.Join(errs...)
	}},
	{"Unlock", func(ctx context.Context, s *Store) error {
		_, err := s.Unlock(ctx, locks("token", 0, "lock"))
		return err
	}},
	{"Unlock of many", func(ctx context.Context, s *Store) error {
		_, err := s.Unlock(ctx, locks("token", 0, "{l}a", "{l}b"))
		return err
	}},
	{"Unlock of a slot", func(ctx context.Context, s *Store) error {
		_, err := s.Unlock(ctx, slot("token", 0, "sem", 2))
		return err
	}},
}

func locks(token string, ttl time.Duration, keys ...string) claim.Claim {
	return claim.Claim{Keys: keys, Token: token, TTL: ttl}
}

func slot(token string, ttl time.Duration, key string, slots int) claim.Claim {
	return claim.Claim{Keys: []string{key}, Token: token, TTL: ttl, Slots: slots}
}

// fenced adds the keys for fencing tokens, each in the slot of its lock.
func fenced(c claim.Claim) claim.Claim {
	for _, key := range c.Keys {
		if !strings.Contains(key, "{") {
			key = "{" + key + "}"
		}
		c.Fences = append(c.Fences, key+":fence")
	}
	return c
}

// A spy is a hook that counts round trips: single commands and pipelines.
type spy struct {
	trips atomic.Int64
}

func (s *spy) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *spy) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.trips.Add(1)
		return next(ctx, cmd)
	}
}

func (s *spy) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if name := cmds[0].Name(); name != "hello" && name != "client" { // of the handshake
			s.trips.Add(1)
		}
		return next(ctx, cmds)
	}
}
