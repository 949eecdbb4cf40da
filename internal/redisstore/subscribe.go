package redisstore

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// A watchRun keeps a watcher's connection for as long as keys are watched. One goroutine makes the connections, one
// after the other, and sends on them; a second one receives. go-redis' PubSub would reconnect by itself, but at
// once and without end, and it does not notice a server that falls silent.
type watchRun struct {
	w      *watcher
	poke   chan struct{} // there are keys to subscribe to
	cancel context.CancelFunc
	done   chan struct{} // closed when all has ended
}

// startWatching needs w.mu, as has everything that sets or asks for w.run: a run that is not w.run any more must let w.keys alone.
func startWatching(w *watcher) *watchRun {
	ctx, cancel := context.WithCancel(context.Background())
	r := &watchRun{w: w, poke: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	go r.run(ctx)
	return r
}

func (r *watchRun) run(ctx context.Context) {
	defer close(r.done)
	defer r.cancel()
	for failures := 0; r.wanted(); {
		var alive atomic.Bool
		err := r.connection(ctx, &alive)
		if alive.Load() {
			failures = 0
		}
		if err != nil {
			pause(ctx, failures)
			failures++
		}
	}
}

// wanted says whether there is something to watch. If not, the run is over, and the next one who watches starts another.
func (r *watchRun) wanted() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.run != r {
		return false
	}
	r.sweep()
	if len(r.w.keys) == 0 {
		r.w.run = nil
		return false
	}
	for _, k := range r.w.keys {
		k.sent, k.active = false, false
	}
	return true
}

// pause waits before the next connection: twice as long after each failure, with jitter, so that the clients of a
// server that comes back do not come all at once.
func pause(ctx context.Context, failures int) {
	d := min(minReconnect<<min(failures, 10), maxReconnect)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connection makes a connection and lives until it is lost, which is an error, or not needed any more. alive tells whether the
// server has ever answered.
func (r *watchRun) connection(ctx context.Context, alive *atomic.Bool) error {
	ps := r.w.client.Subscribe(ctx) // no channels yet, no I/O
	defer ps.Close()
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	err := r.subscribe(connect, ps)
	cancel()
	if err != nil {
		return err
	}

	// Now the connection is there, and PubSub needs a ctx only to reconnect. That is done here, not within the call that
	// fails: so it gets one that has ended.
	ended, cancel := context.WithCancel(ctx)
	cancel()

	lost := make(chan error, 1)
	received := make(chan struct{})
	go func() {
		defer close(received)
		lost <- r.receive(ended, ps, alive)
	}()
	err = r.converse(ctx, ended, ps, lost)
	_ = ps.Close() // ends receive
	<-received
	return err
}

// converse sends on a connection until it is lost or no longer needed.
func (r *watchRun) converse(ctx, ended context.Context, ps *redis.PubSub, lost <-chan error) error {
	tick := time.NewTicker(r.w.ping)
	defer tick.Stop()
	lastUse := time.Now()
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err = <-lost:
		case <-r.poke:
			err = r.subscribe(ended, ps)
		case now := <-tick.C:
			var used bool
			if used, err = r.unsubscribe(ended, ps); used {
				lastUse = now
			}
			if now.Sub(lastUse) >= r.w.idle {
				return nil
			}
			if err == nil {
				err = ps.Ping(ended)
			}
		}
		if err != nil {
			return err
		}
	}
}

// subscribe sends what is not sent yet.
func (r *watchRun) subscribe(ctx context.Context, ps *redis.PubSub) error {
	if keys := r.unsent(); len(keys) > 0 {
		return ps.Subscribe(ctx, keys...)
	}
	return nil
}

func (r *watchRun) unsent() (keys []string) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.w.run != r {
		return nil
	}
	for key, k := range r.w.keys {
		if !k.sent {
			k.sent = true
			keys = append(keys, key)
		}
	}
	return keys
}

// unsubscribe lets go of what nobody watches, and says whether anything is left.
func (r *watchRun) unsubscribe(ctx context.Context, ps *redis.PubSub) (used bool, err error) {
	r.w.mu.Lock()
	keys := r.sweep()
	used = len(r.w.keys) > 0
	r.w.mu.Unlock()
	if len(keys) > 0 {
		err = ps.Unsubscribe(ctx, keys...)
	}
	return used, err
}

// sweep forgets the keys that nobody watches, and gives those that were subscribed to. It needs w.mu.
func (r *watchRun) sweep() (subscribed []string) {
	if r.w.run != r {
		return nil
	}
	for key, k := range r.w.keys {
		if len(k.watchers) > 0 {
			continue
		}
		delete(r.w.keys, key)
		if k.sent {
			subscribed = append(subscribed, key)
		}
	}
	return subscribed
}

// receive wakes those who watch a key that the server tells of, until the connection is lost or silent.
func (r *watchRun) receive(ended context.Context, ps *redis.PubSub, alive *atomic.Bool) error {
	for {
		msg, err := ps.ReceiveTimeout(ended, 2*r.w.ping)
		if err != nil {
			return err
		}
		alive.Store(true)
		switch msg := msg.(type) {
		case *redis.Message:
			r.w.wake(msg.Channel, false)
		case *redis.Subscription:
			if msg.Kind == "subscribe" {
				r.w.wake(msg.Channel, true)
			}
		}
	}
}
