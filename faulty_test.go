package cachify_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-cachify/cachify"
)

var errDown = errors.New("the store is down")

// A fault stands between a client and its store for one operation, which is done by calling do.
type fault func(ctx context.Context, op string, do func() error) error

func failing(context.Context, string, func() error) error { return errDown }

func hanging(ctx context.Context, _ string, _ func() error) error {
	<-ctx.Done()
	return ctx.Err()
}

// failingOnly fails the given operations.
func failingOnly(ops ...string) fault {
	return func(_ context.Context, op string, do func() error) error {
		for _, failing := range ops {
			if op == failing {
				return errDown
			}
		}
		return do()
	}
}

// A faultyStore counts the operations on a store, and fails or delays them at will.
type faultyStore struct {
	cachify.Store
	mu    sync.Mutex
	fault fault
	calls map[string]int
}

func (s *faultyStore) set(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// count gives the number of operations of this kind so far.
func (s *faultyStore) count(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

func (s *faultyStore) do(ctx context.Context, op string, do func() error) error {
	s.mu.Lock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[op]++
	fault := s.fault
	s.mu.Unlock()
	if fault == nil {
		return do()
	}
	return fault(ctx, op, do)
}

func (s *faultyStore) Get(ctx context.Context, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	err = s.do(ctx, "Get", func() (err error) { values, stamps, err = s.Store.Get(ctx, keys, tags, left); return err })
	return values, stamps, err
}

func (s *faultyStore) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) (values [][]byte, stamps []int64, err error) {
	err = s.do(ctx, "Lease", func() (err error) { values, stamps, err = s.Store.Lease(ctx, lease, ttl, keys, tags, left); return err })
	return values, stamps, err
}

func (s *faultyStore) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) (done []bool, stamps []int64, err error) {
	err = s.do(ctx, "Set", func() (err error) { done, stamps, err = s.Store.Set(ctx, head, keys, values, ttls, tags); return err })
	return done, stamps, err
}

func (s *faultyStore) Expire(ctx context.Context, head []byte, ttl time.Duration, keys []string) (done []bool, err error) {
	err = s.do(ctx, "Expire", func() (err error) { done, err = s.Store.Expire(ctx, head, ttl, keys); return err })
	return done, err
}

func (s *faultyStore) Delete(ctx context.Context, head []byte, keys []string) (done []bool, err error) {
	err = s.do(ctx, "Delete", func() (err error) { done, err = s.Store.Delete(ctx, head, keys); return err })
	return done, err
}

func (s *faultyStore) Advance(ctx context.Context, ttl time.Duration, tags []string) (stamp int64, err error) {
	err = s.do(ctx, "Advance", func() (err error) { stamp, err = s.Store.Advance(ctx, ttl, tags); return err })
	return stamp, err
}

func (s *faultyStore) Lock(ctx context.Context, c cachify.Claim, from string) (fence int64, ok bool, err error) {
	op := "Lock"
	if from != "" {
		op = "HandOver"
	}
	err = s.do(ctx, op, func() (err error) { fence, ok, err = s.Store.Lock(ctx, c, from); return err })
	return fence, ok, err
}

func (s *faultyStore) Extend(ctx context.Context, claims []cachify.Claim) (done []bool, errs []error) {
	err := s.do(ctx, "Extend", func() error { done, errs = s.Store.Extend(ctx, claims); return errors.Join(errs...) })
	if err != nil && errs == nil {
		return make([]bool, len(claims)), slices.Repeat([]error{err}, len(claims))
	}
	return done, errs
}

func (s *faultyStore) Unlock(ctx context.Context, c cachify.Claim) (ok bool, err error) {
	err = s.do(ctx, "Unlock", func() (err error) { ok, err = s.Store.Unlock(ctx, c); return err })
	return ok, err
}

func (s *faultyStore) Fence(ctx context.Context, c cachify.Claim) (fence int64, ok bool, err error) {
	err = s.do(ctx, "Fence", func() (err error) { fence, ok, err = s.Store.Fence(ctx, c); return err })
	return fence, ok, err
}

func (s *faultyStore) Holders(ctx context.Context, key string, semaphore bool) (tokens []string, left []time.Duration, err error) {
	err = s.do(ctx, "Holders", func() (err error) { tokens, left, err = s.Store.Holders(ctx, key, semaphore); return err })
	return tokens, left, err
}
