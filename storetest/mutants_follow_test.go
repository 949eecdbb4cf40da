package storetest

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/go-cachify/cachify"
)

func init() { maps.Copy(mutants, followMutants) }

// A teller is a store whose followers are told something else.
type teller struct {
	cachify.Followed
	follow func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func()
}

func (s teller) Follow(prefix, stampKey string, f cachify.Follower) func() {
	return s.follow(s.Followed, prefix, stampKey, f)
}

func tells(follow func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func()) func(cachify.Store) cachify.Store {
	return func(s cachify.Store) cachify.Store { return teller{s.(cachify.Followed), follow} }
}

// A filtered is a follower of which some methods are replaced.
type filtered struct {
	cachify.Follower
	changed  func(f cachify.Follower, key string, head []byte)
	advanced func(f cachify.Follower, stamp int64, tags []string)
}

func (f filtered) Changed(key string, head []byte) {
	if f.changed == nil {
		f.Follower.Changed(key, head)
		return
	}
	f.changed(f.Follower, key, head)
}

func (f filtered) Advanced(stamp int64, tags []string) {
	if f.advanced == nil {
		f.Follower.Advanced(stamp, tags)
		return
	}
	f.advanced(f.Follower, stamp, tags)
}

func onChanged(changed func(f cachify.Follower, key string, head []byte)) func(cachify.Store) cachify.Store {
	return tells(func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func() {
		return s.Follow(prefix, stampKey, filtered{Follower: f, changed: changed})
	})
}

func onAdvanced(advanced func(f cachify.Follower, stamp int64, tags []string)) func(cachify.Store) cachify.Store {
	return tells(func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func() {
		return s.Follow(prefix, stampKey, filtered{Follower: f, advanced: advanced})
	})
}

var followMutants = map[string]mutant{
	"a follower never hears that it is live": {"Follow/Set", tells(func(cachify.Followed, string, string, cachify.Follower) func() { return func() {} })},
	"a follower is not told of removals": {"Follow/Delete", onChanged(func(f cachify.Follower, key string, head []byte) {
		if len(head) > 0 {
			f.Changed(key, head)
		}
	})},
	"a follower is told too short a head": {"Follow/Set", onChanged(func(f cachify.Follower, key string, head []byte) {
		f.Changed(key, head[:min(len(head), 19)])
	})},
	"a follower's prefix is a pattern": {"Follow/AnyPrefix", tells(func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func() {
		if i := strings.IndexAny(prefix, "*?["); i >= 0 {
			prefix = prefix[:i]
		}
		return s.Follow(prefix, stampKey, f)
	})},
	"a tag ends at a colon": {"Follow/Advance", onAdvanced(func(f cachify.Follower, stamp int64, tags []string) {
		cut := make([]string, len(tags))
		for i, tag := range tags {
			cut[i] = tag[:strings.LastIndex(tag, ":")+1]
		}
		f.Advanced(stamp, cut)
	})},
	"a follower is told another stamp": {"Follow/Several", onAdvanced(func(f cachify.Follower, stamp int64, tags []string) { f.Advanced(stamp+1, tags) })},
	"a follower's stop does not stop": {"Follow/Stop", tells(func(s cachify.Followed, prefix, stampKey string, f cachify.Follower) func() {
		s.Follow(prefix, stampKey, f)
		return func() {}
	})},
	"a follower is told of what was not written": {"Follow/SetAgain", func(s cachify.Store) cachify.Store { return blindSet{s.(cachify.Followed)} }},
	"what is left is the ttl in seconds": {"Left/Get", func(s cachify.Store) cachify.Store {
		return leftBy{s, func(d time.Duration) time.Duration { return d / time.Second }}
	}},
	"what is left is more than the ttl": {"Left/Get", func(s cachify.Store) cachify.Store {
		return leftBy{s, func(d time.Duration) time.Duration { return d + time.Second }}
	}},
	"what does not expire has nothing left": {"Left/Get", func(s cachify.Store) cachify.Store {
		return leftBy{s, func(d time.Duration) time.Duration { return max(d, 0) }}
	}},
}

type blindSet struct{ cachify.Followed }

func (s blindSet) Set(ctx context.Context, head []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	done, stamps, err := s.Followed.Set(ctx, head, keys, values, ttls, tags)
	if err == nil && len(done) > 0 && !done[0] {
		old, _, _ := s.Get(ctx, keys, nil, nil)
		_, _, _ = s.Followed.Set(ctx, nil, keys, values, ttls, nil)
		_, _, _ = s.Followed.Set(ctx, nil, keys, old, ttls, nil)
	}
	return done, stamps, err
}

type leftBy struct {
	cachify.Store
	change func(time.Duration) time.Duration
}

func (s leftBy) Get(ctx context.Context, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	values, stamps, err := s.Store.Get(ctx, keys, tags, left)
	for i := range left {
		left[i] = s.change(left[i])
	}
	return values, stamps, err
}
