package redisstore

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestLockTokens has what storetest leaves to the store: tokens that begin alike, and locks of stores that did not obtain them.
func TestLockTokens(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		a, b := holder{t, New(rdb)}, holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		for _, keys := range [][]string{{"k"}, {"k", "l", "m"}} {
			for _, ttl := range []time.Duration{time.Minute, NoExpiry} {
				noError(t, rdb.FlushAll(ctx).Err())
				with := func(token string) claim.Claim { return locks(token, ttl, keys...) }
				for _, step := range []struct {
					name string
					call func(claim.Claim) bool
					c    claim.Claim
					want bool
				}{
					{"Lock", a.lock, with("token-1"), true},
					{"Lock again", a.lock, with("token-1"), true},
					{"Lock with a beginning", b.lock, with("token"), false},
					{"Lock with more", b.lock, with("token-12"), false},
					{"Extend with a beginning", b.extend, with("token"), false},
					{"Extend with more", b.extend, with("token-12"), false},
					{"Lock from a beginning", b.lockFrom("token"), with("token-2"), false},
					{"Lock from more", b.lockFrom("token-12"), with("token-2"), false},
					{"Unlock with a beginning", b.unlock, with("token"), false},
					{"Unlock with more", b.unlock, with("token-12"), false},
					{"Extend from elsewhere", b.extend, with("token-1"), true},
					{"Unlock from elsewhere", b.unlock, with("token-1"), true},
					{"Unlock again", a.unlock, with("token-1"), false},
					{"Extend of what is free", a.extend, with("token-1"), false},
					{"Lock from nobody", a.lockFrom("token-1"), with("token-2"), false},
				} {
					if got := step.call(step.c); got != step.want {
						t.Errorf("%s of %v for %v gives %t, want %t", step.name, keys, ttl, got, step.want)
					}
				}
				if n := rdb.DBSize(ctx).Val(); n != 0 {
					t.Errorf("there are %d locks after all", n)
				}
			}
		}
	})
}

// A holder makes calls that must not fail.
type holder struct {
	t testing.TB
	s *Store
}

func (h holder) lock(c claim.Claim) bool { return h.lockFrom("")(c) }

func (h holder) lockFrom(from string) func(c claim.Claim) bool {
	return func(c claim.Claim) bool {
		h.t.Helper()
		_, ok, err := h.s.Lock(h.t.Context(), c, from)
		noError(h.t, err)
		return ok
	}
}

func (h holder) extend(c claim.Claim) bool {
	h.t.Helper()
	done, errs := h.s.Extend(h.t.Context(), []claim.Claim{c})
	if errs != nil {
		h.t.Fatal(errs)
	}
	return done[0]
}

func (h holder) unlock(c claim.Claim) bool {
	h.t.Helper()
	ok, err := h.s.Unlock(h.t.Context(), c)
	noError(h.t, err)
	return ok
}

func (h holder) fence(c claim.Claim) (int64, bool) {
	h.t.Helper()
	n, ok, err := h.s.Fence(h.t.Context(), c)
	noError(h.t, err)
	return n, ok
}

// TestLockAllOrNone: several locks are taken together, and given back each for itself.
func TestLockAllOrNone(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		for _, ttl := range []time.Duration{time.Minute, NoExpiry} {
			for taken := range 3 {
				noError(t, rdb.FlushAll(ctx).Err())
				keys := []string{"a", "b", "c"}
				h.lock(locks("other", time.Minute, keys[taken]))
				if h.lock(locks("mine", ttl, keys...)) {
					t.Errorf("Lock for %v takes locks one of which is another's", ttl)
				}
				if n := rdb.DBSize(ctx).Val(); n != 1 {
					t.Errorf("a Lock for %v that was refused leaves %d keys", ttl, n)
				}
				h.unlock(locks("other", 0, keys[taken]))
				if !h.lock(locks("mine", ttl, keys...)) {
					t.Errorf("Lock for %v fails", ttl)
				}
				noError(t, rdb.Set(ctx, keys[taken], "another", 0).Err())
				if h.extend(locks("mine", ttl, keys...)) {
					t.Errorf("Extend for %v where one lock is another's", ttl)
				}
				if h.lockFrom("mine")(locks("new", ttl, keys...)) {
					t.Errorf("Lock for %v from a holder that has lost one lock", ttl)
				}
				if h.unlock(locks("mine", ttl, keys...)) {
					t.Error("Unlock held all, it says, where one is another's")
				}
				if left := rdb.Keys(ctx, "*").Val(); len(left) != 1 || left[0] != keys[taken] {
					t.Errorf("Unlock leaves %v, want another's %s alone", left, keys[taken])
				}
			}
		}
	})
}

// TestPass: a lock goes from one holder to the next without being free, and without anybody being told.
func TestPass(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := within(t, 10*time.Second)
		h.unlock(locks("1", 0, "c")) // a script that is sent again tells again
		told := rdb.Subscribe(ctx, "a", "b")
		defer told.Close()
		for range 2 {
			_, err := told.Receive(ctx)
			noError(t, err)
		}
		const none = -1 * time.Nanosecond
		h.lock(locks("1", time.Minute, "a", "b"))
		for _, step := range []struct {
			from, token string
			ttl, want   time.Duration
		}{
			{"1", "2", time.Hour, time.Hour},
			{"1", "2", time.Minute, time.Minute}, // again, after a lost reply
			{"2", "3", NoExpiry, none},
			{"3", "4", time.Hour, time.Hour},
			{"4", "4", time.Minute, time.Minute},
		} {
			if !h.lockFrom(step.from)(locks(step.token, step.ttl, "a", "b")) {
				t.Fatalf("%+v is refused", step)
			}
			for _, key := range []string{"a", "b"} {
				if v, ttl := rdb.Get(ctx, key).Val(), rdb.PTTL(ctx, key).Val(); v != step.token || ttl > step.want || ttl < step.want-10*time.Second {
					t.Errorf("%+v: %s is %q for %v", step, key, v, ttl)
				}
			}
		}
		if h.unlock(locks("1", 0, "a")) {
			t.Error("the first holder still has a lock")
		}
		if m, err := told.ReceiveMessage(ctx); err != nil || m.Channel != "a" {
			t.Fatal(m, err)
		}
		noError(t, rdb.Publish(ctx, "b", "end").Err())
		if m, err := told.ReceiveMessage(ctx); err != nil || m.Payload != "end" {
			t.Errorf("told of %v, %v; want nothing but of the Unlock", m, err)
		}
	})
}

func TestLockTTL(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		h := holder{t, New(rdb)}
		ctx := t.Context() // without a deadline: none may be made of the ttl
		const none = -1 * time.Nanosecond
		for _, keys := range [][]string{{"k"}, {"l", "m"}} {
			for _, step := range []struct {
				call func(claim.Claim) bool
				ttl  time.Duration
				want time.Duration
			}{
				{h.lock, time.Minute, time.Minute},
				{h.extend, time.Hour, time.Hour},
				{h.extend, time.Minute, time.Hour}, // never shorter
				{h.extend, NoExpiry, none},
				{h.extend, time.Minute, none},
				{h.lock, time.Minute, time.Minute},
				{h.lock, NoExpiry, none}, // recognises itself
				{h.lock, time.Hour, time.Hour},
			} {
				ok := step.call(locks("token", step.ttl, keys...))
				for _, key := range keys {
					if got := rdb.PTTL(ctx, key).Val(); !ok || got > step.want || got < step.want-10*time.Second {
						t.Errorf("%v: %t, %v", step.want, ok, got)
					}
				}
			}
		}
		for i := range 100 {
			c := locks("token", 1, fmt.Sprint("short", i))
			if !h.lock(c) {
				t.Fatal("a lock for a nanosecond is refused")
			}
			h.extend(c)
		}
	})
}

func TestRefusedClaims(t *testing.T) {
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	defer rdb.Close()
	s := New(rdb)
	for _, test := range []struct {
		c    claim.Claim
		want string
		live bool // only the ttl is wrong, which Unlock and Fence do not look at
	}{
		{c: locks("", time.Minute, "k"), want: "must not be empty"},
		{c: locks("token", time.Minute), want: "no key"},
		{c: locks("token", 0, "k"), want: "ttl of 0s", live: true},
		{c: locks("token", -2, "k"), want: "ttl of -2ns", live: true},
		{c: slot("token", time.Minute, "k", -1), want: "-1 slots"},
		{c: claim.Claim{Keys: []string{"k", "l"}, Token: "token", TTL: 1, Slots: 1}, want: "one key"},
		{c: claim.Claim{Keys: []string{"k"}, Token: "token", TTL: 1, Slots: 1, Fences: []string{"f"}}, want: "one key"},
		{c: claim.Claim{Keys: []string{"k"}, Token: "token", TTL: 1, Fences: []string{"f", "g"}}, want: "one for each"},
	} {
		_, _, lock := s.Lock(t.Context(), test.c, "")
		_, extend := s.Extend(t.Context(), []claim.Claim{test.c})
		errs := []error{lock, extend[0]}
		if !test.live {
			_, unlock := s.Unlock(t.Context(), test.c)
			_, _, fence := s.Fence(t.Context(), test.c)
			errs = append(errs, unlock, fence)
		}
		for i, err := range errs {
			if err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("call %d with %+v: error %v, want %q", i, test.c, err, test.want)
			}
		}
	}
	if _, _, err := s.Fence(t.Context(), locks("token", time.Minute, "k")); err == nil || !strings.Contains(err.Error(), "no keys for fencing tokens") {
		t.Errorf("Fence without keys: %v", err)
	}
}

// TestClaimsOfAnotherType: what is no lock, or no semaphore, is never "locked" or "not held".
func TestClaimsOfAnotherType(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s := New(rdb)
		ctx := within(t, 10*time.Second)
		for _, test := range []struct {
			name      string
			c         claim.Claim
			semaphore bool
		}{
			{"lock", locks("token", time.Minute, "hash"), false},
			{"lock for ever", locks("token", NoExpiry, "hash"), false},
			{"one of two locks", locks("token", time.Minute, "free", "hash"), false},
			{"one of two locks for ever", locks("token", NoExpiry, "free", "hash"), false},
			{"lock that is a semaphore", locks("token", time.Minute, "zset"), false},
			{"semaphore", slot("token", time.Minute, "hash", 2), true},
			{"semaphore for ever", slot("token", NoExpiry, "hash", 2), true},
			{"semaphore that is a lock", slot("token", time.Minute, "string", 2), true},
		} {
			noError(t, rdb.FlushAll(ctx).Err())
			noError(t, rdb.HSet(ctx, "hash", "f", "v").Err())
			noError(t, rdb.ZAdd(ctx, "zset", redis.Z{Score: 8e15, Member: "token"}).Err())
			noError(t, rdb.Set(ctx, "string", "token", 0).Err())
			_, _, lock := s.Lock(ctx, test.c, "")
			_, _, pass := s.Lock(ctx, test.c, "other")
			done, extend := s.Extend(ctx, []claim.Claim{test.c})
			_, unlock := s.Unlock(ctx, test.c)
			_, _, holders := s.Holders(ctx, test.c.Keys[len(test.c.Keys)-1], test.semaphore)
			if done[0] {
				t.Errorf("%s: Extend did it", test.name)
			}
			errs := map[string]error{"Lock": lock, "Lock from": pass, "Extend": append(extend, nil)[0], "Unlock": unlock, "Holders": holders}
			if !test.semaphore {
				_, _, errs["fenced Lock"] = s.Lock(ctx, fenced(test.c), "")
			}
			if len(test.c.Keys) == 1 && !test.semaphore {
				_, _, errs["Fence"] = s.Fence(ctx, fenced(test.c))
			}
			for name, err := range errs {
				if err == nil || !strings.Contains(err.Error(), "WRONGTYPE") || !strings.Contains(err.Error(), test.c.Keys[len(test.c.Keys)-1]) {
					t.Errorf("%s of %s: error %v", name, test.name, err)
				}
			}
			if n := rdb.DBSize(ctx).Val(); n != 3 {
				t.Errorf("%s: %d keys are there now", test.name, n)
			}
		}
	})
}

// TestUnlockTellsAfterwards: who is told of an Unlock finds the lock free.
func TestUnlockTellsAfterwards(t *testing.T) {
	onEach(t, unlockTellsAfterwards[*redis.Client])
	t.Run("cluster", func(t *testing.T) { unlockTellsAfterwards(t, redistest.StartCluster(t).Client(t)) })
}

func unlockTellsAfterwards[C redis.UniversalClient](t *testing.T, rdb C) {
	s := New(rdb)
	h := holder{t, s}
	s.Open()
	defer s.Close()
	for _, c := range []claim.Claim{
		locks("token", time.Minute, "k"),
		locks("token", NoExpiry, "{k}a", "{k}b"),
		slot("token", time.Minute, "sem", 1),
	} {
		changes, stop := s.Watch(c.Keys[len(c.Keys)-1])
		receive(t, changes)
		for range 50 {
			if !h.lock(c) {
				t.Fatalf("%v is not free", c.Keys)
			}
			if !h.unlock(c) {
				t.Fatalf("%v was lost", c.Keys)
			}
			receive(t, changes)
		}
		if h.unlock(c) {
			t.Errorf("%v is held", c.Keys)
		}
		receive(t, changes) // told of also when nothing was there
		stop()
	}
}

func TestClaimsAcrossSlots(t *testing.T) {
	s := New(redistest.StartCluster(t).Client(t))
	ctx := within(t, 10*time.Second)
	c := locks("token", time.Minute, "a", "b", "c")
	for name, call := range map[string]func() error{
		"Lock":          func() error { _, _, err := s.Lock(ctx, c, ""); return err },
		"Lock for ever": func() error { _, _, err := s.Lock(ctx, locks("token", NoExpiry, "a", "b"), ""); return err },
		"Lock from":     func() error { _, _, err := s.Lock(ctx, c, "other"); return err },
		"Lock, fence": func() error {
			_, _, err := s.Lock(ctx, claim.Claim{Keys: []string{"a"}, Token: "token", TTL: time.Minute, Fences: []string{"b"}}, "")
			return err
		},
		"Fence":  func() error { _, _, err := s.Fence(ctx, fenced(c)); return err },
		"Extend": func() error { _, errs := s.Extend(ctx, []claim.Claim{c}); return append(errs, nil)[0] },
		"Unlock": func() error { _, err := s.Unlock(ctx, c); return err },
	} {
		if err := call(); err == nil || !strings.Contains(err.Error(), "different Redis Cluster slots: give them a common hash tag") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	h := holder{t, s}
	if c := fenced(locks("token", time.Minute, "{a b}1", "{a b}2")); !h.lock(c) || !h.extend(c) || !h.unlock(c) {
		t.Error("keys of one slot do not work")
	}
}
