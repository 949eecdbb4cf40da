package memstore

import (
	"strings"
	"sync"

	"github.com/go-cachify/cachify/internal/follow"
)

// followedHead is how much of a value followers get to see.
const followedHead = 20

// followers are told of changes by those who make them, under the lock of what they change.
type followers struct {
	mu  sync.RWMutex
	all map[*followed]struct{}
}

type followed struct {
	prefix   string
	stampKey string

	mu       sync.Mutex // changes in several shards take turns
	follower follow.Follower
}

// Follow tells f of each change of a key that begins with prefix, and of the tags to which stampKey gives their stamps.
func (s *Store) Follow(prefix, stampKey string, f follow.Follower) (stop func()) {
	one := &followed{prefix: prefix, stampKey: stampKey, follower: f}
	s.followers.mu.Lock()
	defer s.followers.mu.Unlock()
	if s.followers.all == nil {
		s.followers.all = make(map[*followed]struct{})
	}
	s.followers.all[one] = struct{}{}
	f.Live(true)
	return func() {
		s.followers.mu.Lock()
		defer s.followers.mu.Unlock()
		delete(s.followers.all, one)
	}
}

func (fs *followers) changed(key string, head []byte) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for one := range fs.all {
		if strings.HasPrefix(key, one.prefix) {
			one.mu.Lock()
			one.follower.Changed(key, head)
			one.mu.Unlock()
		}
	}
}

func (fs *followers) advanced(stamp int64, tags []string) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	for one := range fs.all {
		if tags[0] == one.stampKey {
			one.mu.Lock()
			one.follower.Advanced(stamp, tags[1:])
			one.mu.Unlock()
		}
	}
}
