package storetest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

func init() { maps.Copy(mutants, claimMutants) }

// A claimant is a store of which some methods are replaced. The others are those of the store that is embedded.
type claimant struct {
	cachify.Store
	lock    func(ctx context.Context, c cachify.Claim, from string) (int64, bool, error)
	extend  func(ctx context.Context, claims []cachify.Claim) ([]bool, []error)
	unlock  func(ctx context.Context, c cachify.Claim) (bool, error)
	fence   func(ctx context.Context, c cachify.Claim) (int64, bool, error)
	holders func(ctx context.Context, key string, semaphore bool) ([]string, []time.Duration, error)
}

func (s claimant) Lock(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
	if s.lock == nil {
		return s.Store.Lock(ctx, c, from)
	}
	return s.lock(ctx, c, from)
}

func (s claimant) Extend(ctx context.Context, claims []cachify.Claim) ([]bool, []error) {
	if s.extend == nil {
		return s.Store.Extend(ctx, claims)
	}
	return s.extend(ctx, claims)
}

func (s claimant) Unlock(ctx context.Context, c cachify.Claim) (bool, error) {
	if s.unlock == nil {
		return s.Store.Unlock(ctx, c)
	}
	return s.unlock(ctx, c)
}

func (s claimant) Fence(ctx context.Context, c cachify.Claim) (int64, bool, error) {
	if s.fence == nil {
		return s.Store.Fence(ctx, c)
	}
	return s.fence(ctx, c)
}

func (s claimant) Holders(ctx context.Context, key string, semaphore bool) ([]string, []time.Duration, error) {
	if s.holders == nil {
		return s.Store.Holders(ctx, key, semaphore)
	}
	return s.holders(ctx, key, semaphore)
}

var claimMutants = map[string]mutant{
	"a hand-over compares the beginning only": {"Handover/WholeToken", handsOver(func(holder, from string) bool { return strings.HasPrefix(holder, from) })},
	"a hand-over does not ask from whom":      {"Handover/AnotherHolds", handsOver(func(string, string) bool { return true })},
	"a hand-over takes what is free": {"Handover/NobodyHolds", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if fence, ok, err := s.Lock(ctx, c, from); ok || err != nil {
			return fence, ok, err
		}
		return s.Lock(ctx, c, "")
	})},
	"a hand-over of a slot takes a free one": {"Semaphores/Handover", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if c.Slots > 0 && !held(ctx, s, c) {
			from = ""
		}
		return s.Lock(ctx, c, from)
	})},
	"a hand-over takes some of several": {"Handover/AllOrNone", onLock(oneByOne)},
	"a hand-over is told": {"Handover/TellsNobody", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		fence, ok, err := s.Lock(ctx, c, from)
		if ok && from != "" {
			_, _, err = s.Set(ctx, []byte(c.Token), c.Keys[:1], [][]byte{[]byte(c.Token)}, []time.Duration{c.TTL}, nil)
		}
		return fence, ok, err
	})},
	"a hand-over is done in two steps": {"Handover/NeverFree", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if from == "" {
			return s.Lock(ctx, c, "")
		}
		old := c
		old.Token = from
		if ok, err := s.Unlock(ctx, old); !ok {
			return 0, false, err
		}
		time.Sleep(time.Millisecond) // long enough for others to come between
		return s.Lock(ctx, c, "")
	})},

	"a repeated Lock does not set the ttl": {"Expiry/Longer", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if c.Fences == nil && held(ctx, s, c) {
			return 0, true, nil
		}
		return s.Lock(ctx, c, from)
	})},
	"a token is trimmed": {"Locks/AnyToken", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		c.Token = strings.TrimSpace(c.Token)
		return s.Lock(ctx, c, from)
	})},
	"some of several keys are taken":      {"SeveralLocks/AllOrNone", onLock(oneByOne)},
	"several keys are taken step by step": {"History/Claims", onLock(stepByStep)},
	"several keys are looked at and then taken": {"SeveralLocks/NeverTwoHolders", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if found, _, err := s.Get(ctx, c.Keys, nil, nil); err != nil || slices.ContainsFunc(found, func(token []byte) bool { return token != nil }) {
			return 0, false, err
		}
		time.Sleep(time.Millisecond) // long enough for others to come between
		for _, key := range c.Keys {
			if _, _, err := s.Set(ctx, nil, []string{key}, [][]byte{[]byte(c.Token)}, []time.Duration{c.TTL}, nil); err != nil {
				return 0, false, err
			}
		}
		return 0, true, nil
	})},
	"several keys are given back all or none": {"SeveralLocks/LostInPart", onUnlock(func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error) {
		if !held(ctx, s, c) {
			return false, nil
		}
		return s.Unlock(ctx, c)
	})},
	"Unlock tells of the first key only": {"SeveralLocks/UnlockTellsOfEach", onUnlock(func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error) {
		rest := c
		c.Keys, rest.Keys = c.Keys[:1], c.Keys[1:]
		ok, err := s.Unlock(ctx, c)
		return ok && expireNow(ctx, s, rest), err
	})},
	"Unlock of a slot is not told": {"Watch/UnlockOfASlot", onUnlock(func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error) {
		if c.Slots > 0 {
			return expireNow(ctx, s, c), nil
		}
		return s.Unlock(ctx, c)
	})},
	"Unlock of nothing is not told": {"Watch/UnlockOfNothing", onUnlock(func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error) {
		if tokens, _, err := s.Holders(ctx, c.Keys[0], c.Slots > 0); tokens == nil {
			return false, err
		}
		return s.Unlock(ctx, c)
	})},
	"Extend prolongs what is left of several": {"SeveralLocks/LostInPartIsNotProlonged", onExtend(func(ctx context.Context, s cachify.Store, claims []cachify.Claim) ([]bool, []error) {
		for _, c := range claims {
			for _, key := range c.Keys {
				c.Keys = []string{key}
				_, _ = s.Extend(ctx, []cachify.Claim{c})
			}
		}
		return s.Extend(ctx, claims)
	})},
	"Extend gives results in another order": {"Renewal/Many", onExtend(func(ctx context.Context, s cachify.Store, claims []cachify.Claim) ([]bool, []error) {
		done, errs := s.Extend(ctx, claims)
		slices.Reverse(done)
		return done, errs
	})},
	"Extend makes a ttl shorter": {"Renewal/NeverShorter", onExtend(func(ctx context.Context, s cachify.Store, claims []cachify.Claim) ([]bool, []error) {
		for _, c := range claims {
			if c.Slots == 0 {
				_, _ = s.Expire(ctx, []byte(c.Token), c.TTL, c.Keys)
			}
		}
		return s.Extend(ctx, claims)
	})},
	"Extend gives all the ttl of the first": {"Renewal/ItsOwnTTLForEach", onExtend(func(ctx context.Context, s cachify.Store, claims []cachify.Claim) ([]bool, []error) {
		for i := range claims {
			claims[i].TTL = claims[0].TTL
		}
		return s.Extend(ctx, claims)
	})},
	"Holders does not tell the time": {"Locks/Holders", func(s cachify.Store) cachify.Store {
		return claimant{Store: s, holders: func(ctx context.Context, key string, semaphore bool) ([]string, []time.Duration, error) {
			tokens, left, err := s.Holders(ctx, key, semaphore)
			clear(left)
			return tokens, left, err
		}}
	}},

	"Slots+1 are admitted": {"Semaphores/AdmitsSlots", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if c.Slots > 0 {
			c.Slots++
		}
		return s.Lock(ctx, c, from)
	})},
	"a slot is taken in two steps": {"Semaphores/NeverTooMany", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if tokens, _, err := s.Holders(ctx, c.Keys[0], true); err != nil || len(tokens) >= c.Slots {
			return 0, false, err
		}
		time.Sleep(time.Millisecond) // long enough for others to come between
		c.Slots = 100
		return s.Lock(ctx, c, from)
	})},
	"expired slots are not freed": {"Semaphores/Expiry", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if c.Slots > 0 {
			c.TTL = cachify.NoExpiry
		}
		return s.Lock(ctx, c, from)
	})},
	"a full semaphore does not know its holder": {"Semaphores/RepeatedLock", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if tokens, _, err := s.Holders(ctx, c.Keys[0], true); err != nil || len(tokens) >= c.Slots {
			return 0, false, err
		}
		return s.Lock(ctx, c, from)
	})},
	"the first caller says how many slots there are": {"Semaphores/DifferentSlots", func(s cachify.Store) cachify.Store {
		var first atomic.Int64
		return onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
			first.CompareAndSwap(0, int64(c.Slots))
			c.Slots = int(first.Load())
			return s.Lock(ctx, c, from)
		})(s)
	}},
	"a slot can be given back by anybody": {"Semaphores/Ownership", onUnlock(func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error) {
		if tokens, _, _ := s.Holders(ctx, c.Keys[0], true); len(tokens) > 0 {
			c.Token = tokens[0]
		}
		return s.Unlock(ctx, c)
	})},

	"a fence is given to anybody": {"Fences/NotForWhoDoesNotHold", onFence(func(ctx context.Context, s cachify.Store, c cachify.Claim) (int64, bool, error) {
		fence, ok, err := s.Fence(ctx, c)
		if err == nil && !ok {
			return time.Now().UnixMicro(), true, nil
		}
		return fence, ok, err
	})},
	"a fence is given to who has lost": {"Fences/NotForWhoHasLost", func(s cachify.Store) cachify.Store {
		var given sync.Map
		return claimant{Store: s,
			lock: func(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
				fence, ok, err := s.Lock(ctx, c, from)
				given.Store(c.Token, fence)
				return fence, ok, err
			},
			fence: func(ctx context.Context, c cachify.Claim) (int64, bool, error) {
				fence, ok := given.Load(c.Token)
				return fence.(int64), ok, nil
			},
		}
	}},
	"a fence is given with a Lock that is refused": {"Fences/NotForWhoDoesNotHold", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		fence, ok, err := s.Lock(ctx, c, from)
		if !ok {
			fence = time.Now().UnixMicro()
		}
		return fence, ok, err
	})},
	"a fence is given for a part of the keys": {"Fences/NotForAPart", onFence(func(ctx context.Context, s cachify.Store, c cachify.Claim) (int64, bool, error) {
		c.Keys = c.Keys[:1]
		return s.Fence(ctx, c)
	})},
	"fences restart after Unlock": {"Fences/GrowWithEachHolding", func(s cachify.Store) cachify.Store {
		var back atomic.Int64
		return claimant{Store: s,
			lock: func(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
				fence, ok, err := s.Lock(ctx, c, from)
				return max(0, fence-back.Load()), ok, err
			},
			unlock: func(ctx context.Context, c cachify.Claim) (bool, error) {
				back.Add(1_000_000)
				return s.Unlock(ctx, c)
			},
		}
	}},
	"fences are the clock": {"Fences/SameForOneHolding", onFence(func(ctx context.Context, s cachify.Store, c cachify.Claim) (int64, bool, error) {
		_, ok, err := s.Fence(ctx, c)
		return time.Now().UnixMicro(), ok, err
	})},
	"fences are seconds": {"Fences/FollowTheClock", onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		fence, ok, err := s.Lock(ctx, c, from)
		return fence / 1_000_000, ok, err
	})},
	"a hand-over hands the fence on": {"Fences/NotForWhoHasLost", func(s cachify.Store) cachify.Store {
		var given sync.Map
		return onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
			fence, ok, err := s.Lock(ctx, c, from)
			if old, there := given.Load(from); ok && there {
				fence = old.(int64)
			}
			given.Store(c.Token, fence)
			return fence, ok, err
		})(s)
	}},
	"each key counts fences for itself": {"Fences/SeveralKeys", func(s cachify.Store) cachify.Store {
		var mu sync.Mutex
		count := make(map[string]int64)
		return onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
			mu.Lock()
			defer mu.Unlock()
			_, ok, err := s.Lock(ctx, c, from)
			count[c.Keys[0]]++
			return count[c.Keys[0]], ok, err
		})(s)
	}},

	"a head that is empty is no head of nothing": {"Heads/EmptyHead", func(s cachify.Store) cachify.Store { return strictHead{s} }},
}

type lockFunc = func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error)

func onLock(lock lockFunc) func(cachify.Store) cachify.Store {
	return func(s cachify.Store) cachify.Store {
		return claimant{Store: s, lock: func(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
			return lock(ctx, s, c, from)
		}}
	}
}

func onExtend(extend func(ctx context.Context, s cachify.Store, claims []cachify.Claim) ([]bool, []error)) func(cachify.Store) cachify.Store {
	return func(s cachify.Store) cachify.Store {
		return claimant{Store: s, extend: func(ctx context.Context, claims []cachify.Claim) ([]bool, []error) {
			return extend(ctx, s, slices.Clone(claims))
		}}
	}
}

func onUnlock(unlock func(ctx context.Context, s cachify.Store, c cachify.Claim) (bool, error)) func(cachify.Store) cachify.Store {
	return func(s cachify.Store) cachify.Store {
		return claimant{Store: s, unlock: func(ctx context.Context, c cachify.Claim) (bool, error) { return unlock(ctx, s, c) }}
	}
}

func onFence(fence func(ctx context.Context, s cachify.Store, c cachify.Claim) (int64, bool, error)) func(cachify.Store) cachify.Store {
	return func(s cachify.Store) cachify.Store {
		return claimant{Store: s, fence: func(ctx context.Context, c cachify.Claim) (int64, bool, error) { return fence(ctx, s, c) }}
	}
}

// handsOver hands over from whoever holds the first key, if it is one that is accepted for from.
func handsOver(accept func(holder, from string) bool) func(cachify.Store) cachify.Store {
	return onLock(func(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
		if tokens, _, _ := s.Holders(ctx, c.Keys[0], c.Slots > 0); from != "" && len(tokens) > 0 && accept(tokens[0], from) {
			from = tokens[0]
		}
		return s.Lock(ctx, c, from)
	})
}

// oneByOne takes key after key and keeps what it has got.
func oneByOne(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (fence int64, ok bool, err error) {
	for _, key := range c.Keys {
		c.Keys = []string{key}
		if fence, ok, err = s.Lock(ctx, c, from); !ok {
			return 0, false, err
		}
	}
	return fence, true, nil
}

// stepByStep takes key after key and gives back what it has got if it can't get all.
func stepByStep(ctx context.Context, s cachify.Store, c cachify.Claim, from string) (int64, bool, error) {
	if from != "" {
		return s.Lock(ctx, c, from)
	}
	for n, key := range c.Keys {
		part := c
		part.Keys, part.Fences = []string{key}, nil
		if _, ok, err := s.Lock(ctx, part, ""); !ok {
			part.Keys = c.Keys[:n]
			_, _ = s.Unlock(ctx, part)
			return 0, false, err
		}
		time.Sleep(time.Millisecond) // long enough for others to come between
	}
	return s.Lock(ctx, c, "")
}

func held(ctx context.Context, s cachify.Store, c cachify.Claim) bool {
	for _, key := range c.Keys {
		if tokens, _, _ := s.Holders(ctx, key, c.Slots > 0); !slices.Contains(tokens, c.Token) {
			return false
		}
	}
	return true
}

// expireNow ends a claim without telling anybody.
func expireNow(ctx context.Context, s cachify.Store, c cachify.Claim) bool {
	gone := c
	gone.Token, gone.TTL = "gone", 1
	_, ok, _ := s.Lock(ctx, gone, c.Token)
	time.Sleep(2 * time.Millisecond)
	return ok
}

type strictHead struct{ cachify.Store }

func (s strictHead) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	if head != nil {
		if found, _, err := s.Get(ctx, keys, nil, nil); err != nil || found[0] == nil {
			return []bool{false}, nil, err
		}
	}
	return s.Store.Set(ctx, head, keys, values, ttls, tags)
}
