package redisstore

import (
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	pingEvery      = 3 * time.Second  // see watcher.ping
	idleAfter      = 10 * time.Second // see watcher.idle
	connectTimeout = 5 * time.Second
	minReconnect   = 20 * time.Millisecond
	maxReconnect   = 2 * time.Second
	closeTimeout   = 2 * time.Second
)

// A watcher tells of changes of keys. It has one Pub/Sub connection for all keys, and only while keys are watched.
type watcher struct {
	client redis.UniversalClient
	// ping is the time between two PINGs. A connection that is silent for twice as long is lost. Keys that nobody
	// watches are unsubscribed from as often, so that those that are watched again and again stay subscribed to.
	ping time.Duration
	// idle is the time for which a connection is kept without keys.
	idle time.Duration

	mu     sync.Mutex
	keys   map[string]*watchedKey
	opened int
	closed bool
	run    *watchRun // nil if there is none
}

type watchedKey struct {
	watchers map[chan struct{}]struct{}
	sent     bool // SUBSCRIBE was sent on the present connection
	active   bool // and confirmed
}

func newWatcher(client redis.UniversalClient) *watcher {
	return &watcher{client: client, ping: pingEvery, idle: idleAfter, keys: make(map[string]*watchedKey)}
}

func (w *watcher) open() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.opened++
	w.closed = false
}

// close waits for the goroutines to end, but not longer than closeTimeout: a server that stops answering in the
// middle of a handshake holds them until the client's own timeout. It says whether this was the last close.
func (w *watcher) close() (last bool) {
	w.mu.Lock()
	w.opened = max(w.opened-1, 0)
	if w.opened > 0 {
		w.mu.Unlock()
		return false
	}
	w.closed = true
	w.keys = make(map[string]*watchedKey)
	run := w.run
	w.run = nil
	w.mu.Unlock()
	if run == nil {
		return true
	}
	run.cancel()
	select {
	case <-run.done:
	case <-time.After(closeTimeout):
	}
	return true
}

// add starts to watch key.
func (w *watcher) add(key string) (changes <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return ch, func() {}
	}
	k := w.keys[key]
	if k == nil {
		k = &watchedKey{watchers: make(map[chan struct{}]struct{}, 1)}
		w.keys[key] = k
	}
	k.watchers[ch] = struct{}{}
	if k.active {
		signal(ch) // notifications have begun already
	}
	if w.run == nil {
		w.run = startWatching(w)
	}
	if !k.sent {
		signal(w.run.poke)
	}
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(k.watchers, ch)
	}
}

// wake tells those who watch key that it may have changed, or that its notifications begin.
func (w *watcher) wake(key string, begins bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.keys[key]
	if k == nil {
		return
	}
	if begins {
		k.active = true
	}
	for ch := range k.watchers {
		signal(ch)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
