package storetest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/memstore"
)

// mutantVar names the mutant in the environment of the process that tests it.
const mutantVar = "CACHIFY_STORETEST_MUTANT"

// TestMutants runs the suite on stores that each break the contract in one way, and expects it to notice.
// Each runs in a process of its own, because there its test has to fail.
func TestMutants(t *testing.T) {
	if name := os.Getenv(mutantVar); name != "" {
		patient = 300 * time.Millisecond
		Run(t, func(t *testing.T) Backend {
			store := mutants[name].wrap(memstore.New(256 << 20))
			return Backend{Open: func() cachify.Store { return store }}
		})
		return
	}
	for name, m := range mutants {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			group, test, _ := strings.Cut(m.caught, "/")
			cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMutants$/^"+group+"$/^"+test+"$")
			cmd.Env = append(os.Environ(), mutantVar+"="+name)
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !bytes.Contains(out, []byte("--- FAIL: TestMutants/"+m.caught)) {
				t.Errorf("%s did not fail for a store where %s: %v\n%s", m.caught, name, err, out)
			}
		})
	}
}

// A mutant is a store that breaks the contract, and the test that has to notice.
type mutant struct {
	caught string
	wrap   func(cachify.Store) cachify.Store
}

var mutants = map[string]mutant{
	"an empty value is nil":                {"Values/AnyValue", func(s cachify.Store) cachify.Store { return emptyIsNil{s} }},
	"values come in another order":         {"Values/InOrder", func(s cachify.Store) cachify.Store { return sorted{s} }},
	"Delete does not compare":              {"Heads/Delete", func(s cachify.Store) cachify.Store { return blindDelete{s} }},
	"Expire creates":                       {"Heads/Absent", func(s cachify.Store) cachify.Store { return creatingExpire{s} }},
	"Set does not know its own work":       {"Heads/RepeatedSet", func(s cachify.Store) cachify.Store { return twoStepSet{s} }},
	"Set compares and writes in two steps": {"Heads/OneOfManySets", func(s cachify.Store) cachify.Store { return twoStepSet{s} }},
	"a history has a Set in two steps":     {"History/Linearizable", func(s cachify.Store) cachify.Store { return twoStepSet{s} }},
	"Lease reads and writes in two steps":  {"Leases/OneWinner", func(s cachify.Store) cachify.Store { return twoStepLease{s} }},
	"a history has a Lease in two steps":   {"History/Linearizable", func(s cachify.Store) cachify.Store { return twoStepLease{s} }},
	"a ttl is at least a second":           {"Expiry/Ends", func(s cachify.Store) cachify.Store { return wholeSeconds{s} }},
	"a ttl ends early":                     {"Expiry/Ends", func(s cachify.Store) cachify.Store { return halfTTL{s} }},
	"a ttl under a millisecond is refused": {"Expiry/RoundedUpInSet", func(s cachify.Store) cachify.Store { return wholeSeconds{s} }},
	"a refused Lock prolongs":              {"Expiry/LeftAloneByRefusals", func(s cachify.Store) cachify.Store { return prolongingLock{s} }},
	"Advance writes one tag":               {"Tags/AdvanceWritesAll", func(s cachify.Store) cachify.Store { return oneTag{s} }},
	"Advance gives the clock":              {"Tags/UniqueStamps", func(s cachify.Store) cachify.Store { return clockStamps{s} }},
	"a new tag starts from the clock":      {"Tags/AbsentTagGetsTheFirstsStamp", func(s cachify.Store) cachify.Store { return freshTags{s} }},
	"Unlock does not compare":              {"Locks/Ownership", func(s cachify.Store) cachify.Store { return blindUnlock{s} }},
	"Unlock compares the head only":        {"Locks/WholeToken", func(s cachify.Store) cachify.Store { return headUnlock{s} }},
	"Lock does not know its own work":      {"Locks/RepeatedLock", func(s cachify.Store) cachify.Store { return forgetfulLock{s} }},
	"Lock always succeeds":                 {"Locks/OneAtATime", func(s cachify.Store) cachify.Store { return openLock{s} }},
	"Delete of nothing is not told":        {"Watch/DeleteOfNothing", func(s cachify.Store) cachify.Store { return silentDelete{s} }},
	"nothing is told":                      {"Watch/Unlock", func(s cachify.Store) cachify.Store { return deaf{s} }},
	"a change is told before it is there":  {"Watch/ChangeIsVisible", func(s cachify.Store) cachify.Store { return &hasty{Store: s} }},
	"stop does not stop":                   {"Watch/Stop", func(s cachify.Store) cachify.Store { return endless{s} }},
	"a ctx that has ended is ignored":      {"Lifecycle/CtxCancelled", func(s cachify.Store) cachify.Store { return noCtx{s} }},
	"one Close is for all":                 {"Lifecycle/CloseOfOneClient", func(s cachify.Store) cachify.Store { return &closable{Store: s} }},
}

type emptyIsNil struct{ cachify.Store }

func (s emptyIsNil) Get(ctx context.Context, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	values, stamps, err := s.Store.Get(ctx, keys, tags, left)
	for i, value := range values {
		if len(value) == 0 {
			values[i] = nil
		}
	}
	return values, stamps, err
}

type sorted struct{ cachify.Store }

func (s sorted) Get(ctx context.Context, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	values, stamps, err := s.Store.Get(ctx, keys, tags, left)
	slices.SortFunc(values, bytes.Compare)
	return values, stamps, err
}

type blindDelete struct{ cachify.Store }

func (s blindDelete) Delete(ctx context.Context, _ []byte, keys []string) ([]bool, error) {
	return s.Store.Delete(ctx, nil, keys)
}

type creatingExpire struct{ cachify.Store }

func (s creatingExpire) Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) ([]bool, error) {
	if _, _, err := s.Lease(ctx, []byte("created"), ttl, keys, nil, nil); err != nil {
		return nil, err
	}
	return s.Store.Expire(ctx, head, ttl, keys)
}

type twoStepSet struct{ cachify.Store }

func (s twoStepSet) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	found, _, err := s.Get(ctx, keys, nil, nil)
	if err != nil {
		return nil, nil, err
	}
	time.Sleep(time.Millisecond) // long enough for others to come between
	done := make([]bool, len(keys))
	for i := range keys {
		if done[i] = len(head) == 0 || bytes.HasPrefix(found[i], head); done[i] {
			if _, _, err := s.Store.Set(ctx, nil, keys[i:i+1], values[i:i+1], ttls[i:i+1], nil); err != nil {
				return nil, nil, err
			}
		}
	}
	_, stamps, err := s.Store.Set(ctx, nil, nil, nil, nil, tags)
	return done, stamps, err
}

type twoStepLease struct{ cachify.Store }

func (s twoStepLease) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	values, stamps, err := s.Get(ctx, keys, tags, left)
	time.Sleep(time.Millisecond) // long enough for others to come between
	for i, value := range values {
		if value == nil {
			if _, _, err := s.Set(ctx, nil, keys[i:i+1], [][]byte{lease}, []time.Duration{ttl}, nil); err != nil {
				return nil, nil, err
			}
		}
	}
	return values, stamps, err
}

type wholeSeconds struct{ cachify.Store }

func (s wholeSeconds) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	rounded := slices.Clone(ttls)
	for i, ttl := range ttls {
		switch {
		case ttl < 0:
		case ttl < time.Millisecond:
			return nil, nil, errors.New("a ttl under a millisecond")
		case ttl < time.Second:
			rounded[i] = time.Second
		}
	}
	return s.Store.Set(ctx, head, keys, values, rounded, tags)
}

type halfTTL struct{ cachify.Store }

func (s halfTTL) Lock(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
	c.TTL /= 2
	return s.Store.Lock(ctx, c, from)
}

type prolongingLock struct{ cachify.Store }

func (s prolongingLock) Lock(ctx context.Context, c cachify.Claim, from string) (int64, bool, error) {
	if _, err := s.Expire(ctx, nil, c.TTL, c.Keys); err != nil {
		return 0, false, err
	}
	return s.Store.Lock(ctx, c, from)
}

type oneTag struct{ cachify.Store }

func (s oneTag) Advance(ctx context.Context, ttl time.Duration, tags []string) (int64, error) {
	return s.Store.Advance(ctx, ttl, tags[:1])
}

type clockStamps struct{ cachify.Store }

func (s clockStamps) Advance(ctx context.Context, ttl time.Duration, tags []string) (int64, error) {
	_, err := s.Store.Advance(ctx, ttl, tags)
	return time.Now().Truncate(time.Millisecond).UnixMicro(), err
}

type freshTags struct{ cachify.Store }

func (s freshTags) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	var stamps []int64
	var done []bool
	for i := range tags {
		var stamp []int64
		var err error
		if done, stamp, err = s.Store.Set(ctx, head, keys, values, ttls, tags[i:i+1]); err != nil {
			return nil, nil, err
		}
		stamps = append(stamps, stamp...)
	}
	return done, stamps, nil
}

type blindUnlock struct{ cachify.Store }

func (s blindUnlock) Unlock(ctx context.Context, c cachify.Claim) (bool, error) {
	done, err := s.Delete(ctx, nil, c.Keys)
	return err == nil && done[0], err
}

type headUnlock struct{ cachify.Store }

func (s headUnlock) Unlock(ctx context.Context, c cachify.Claim) (bool, error) {
	done, err := s.Delete(ctx, []byte(c.Token), c.Keys)
	return err == nil && done[0], err
}

type forgetfulLock struct{ cachify.Store }

func (s forgetfulLock) Lock(ctx context.Context, c cachify.Claim, _ string) (int64, bool, error) {
	values, _, err := s.Lease(ctx, []byte(c.Token), c.TTL, c.Keys, nil, nil)
	return 0, err == nil && values[0] == nil, err
}

type openLock struct{ cachify.Store }

func (s openLock) Lock(ctx context.Context, c cachify.Claim, _ string) (int64, bool, error) {
	_, _, err := s.Set(ctx, nil, c.Keys, [][]byte{[]byte(c.Token)}, []time.Duration{c.TTL}, nil)
	time.Sleep(time.Millisecond) // long enough for others to come between
	return 0, err == nil, err
}

type silentDelete struct{ cachify.Store }

func (s silentDelete) Delete(ctx context.Context, head []byte, keys []string) ([]bool, error) {
	values, _, err := s.Get(ctx, keys, nil, nil)
	if err != nil || values[0] == nil {
		return []bool{false}, err
	}
	return s.Store.Delete(ctx, head, keys)
}

type deaf struct{ cachify.Store }

func (deaf) Watch(string) (<-chan struct{}, func()) {
	begun := make(chan struct{}, 1)
	begun <- struct{}{}
	return begun, func() {}
}

type endless struct{ cachify.Store }

func (s endless) Watch(key string) (<-chan struct{}, func()) {
	changes, _ := s.Store.Watch(key)
	return changes, func() {}
}

// hasty tells its watchers of a Set, and then does it.
type hasty struct {
	cachify.Store
	mu       sync.Mutex
	watchers []chan struct{}
}

func (s *hasty) Watch(string) (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchers = append(s.watchers, ch)
	return ch, func() {}
}

func (s *hasty) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	s.mu.Lock()
	for _, ch := range s.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
	s.mu.Unlock()
	time.Sleep(time.Millisecond)
	return s.Store.Set(ctx, head, keys, values, ttls, tags)
}

type noCtx struct{ cachify.Store }

func (s noCtx) Get(ctx context.Context, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	return s.Store.Get(context.WithoutCancel(ctx), keys, tags, left)
}

type closable struct {
	cachify.Store
	mu     sync.Mutex
	closed bool
}

func (s *closable) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

func (s *closable) Watch(key string) (<-chan struct{}, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return make(chan struct{}), func() {}
	}
	return s.Store.Watch(key)
}
