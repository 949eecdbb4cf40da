package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/go-cachify/cachify/internal/follow"
)

// followPing is the time between two PINGs of a follower's connections. One that is silent for twice as long is lost.
const followPing = time.Second

// followChannels is to how many channels and patterns a connection is subscribed.
const followChannels = 3

// keyspace is how the patterns of keyspace notifications begin, of any database. In an escaped prefix no star stands alone.
//
// https://redis.io/docs/latest/develop/pubsub/keyspace-notifications/
const keyspace = "__keyspace@*__:"

// Follow implements the root package's Followed, over one connection of its own, on a Cluster one to each master. The scripts
// that change something publish it in the same step. Where the server has keyspace notifications switched on
// (notify-keyspace-events with K and g, x, e), deletions by others, expiry and eviction are told of as well.
func (s *Store) Follow(prefix, stampKey string, f follow.Follower) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	run := &followRun{client: s.client, prefix: prefix, stampKey: stampKey, follower: f}
	go func() {
		defer close(done)
		if s.err == nil {
			run.run(ctx)
		}
	}()
	return func() {
		cancel()
		run.end()
		select {
		case <-done:
		case <-time.After(closeTimeout):
		}
	}
}

// A followRun keeps the connections of a follower, for as long as it follows.
type followRun struct {
	client   redis.UniversalClient
	prefix   string
	stampKey string

	mu       sync.Mutex // the connections of a Cluster take turns with the follower
	follower follow.Follower
	ended    bool // nothing is told any more
}

func (r *followRun) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		live, err := r.connections(ctx)
		switch {
		case live:
			failures = 0
		case ctx.Err() == nil:
			r.tell(func(f follow.Follower) { f.Failed(err) })
		}
		pause(ctx, failures)
	}
}

func (r *followRun) tell(what func(follow.Follower)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended {
		what(r.follower)
	}
}

func (r *followRun) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
}

// connections follows until one of the connections is lost or there are other masters, which is the error. It says whether all changes
// were told of at any time.
func (r *followRun) connections(ctx context.Context) (live bool, err error) {
	nodes, err := r.masters(ctx)
	if err != nil {
		return false, err
	}
	group, ctx := errgroup.WithContext(ctx)
	confirmed := make(chan struct{}, len(nodes))
	for _, node := range nodes {
		group.Go(func() error { return r.connection(ctx, node, confirmed) })
	}
	if _, cluster := r.client.(*redis.ClusterClient); cluster {
		group.Go(func() error { return r.watchMasters(ctx, nodes) })
	}
	for range nodes {
		select {
		case <-confirmed:
		case <-ctx.Done():
		}
	}
	if live = ctx.Err() == nil; live {
		r.tell(func(f follow.Follower) { f.Live(true) })
	}
	<-ctx.Done()
	r.tell(func(f follow.Follower) { f.Live(false) }) // at once: what still goes on may wait for a server that hangs
	return live, group.Wait()
}

var errOtherMasters = errors.New("the Cluster has other masters now")

// watchMasters returns when the Cluster's masters are others than nodes.
func (r *followRun) watchMasters(ctx context.Context, nodes []*redis.Client) error {
	tick := time.NewTicker(followPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now, err := r.masters(ctx)
		if err != nil {
			return err
		}
		if len(now) != len(nodes) || slices.ContainsFunc(now, func(n *redis.Client) bool { return !slices.Contains(nodes, n) }) {
			return errOtherMasters
		}
	}
}

// masters gives the clients of all servers that have keys.
func (r *followRun) masters(ctx context.Context) ([]*redis.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	switch client := r.client.(type) {
	case *redis.Client:
		return []*redis.Client{client}, nil
	case *redis.ClusterClient:
		var mu sync.Mutex
		var nodes []*redis.Client
		err := client.ForEachMaster(ctx, func(_ context.Context, node *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			nodes = append(nodes, node)
			return nil
		})
		if err == nil && len(nodes) == 0 {
			err = errors.New("the Cluster has no masters")
		}
		return nodes, err
	}
	return nil, fmt.Errorf("a %T can't be followed", r.client)
}

// connection follows one server until its connection is lost. It says when the server has confirmed the subscriptions.
func (r *followRun) connection(ctx context.Context, node *redis.Client, confirmed chan<- struct{}) error {
	ps := node.Subscribe(ctx) // no channels yet, no I/O
	defer ps.Close()
	stop := context.AfterFunc(ctx, func() { _ = ps.Close() }) // ends a receive
	defer stop()
	connect, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	glob := escapeGlob(r.prefix) + "*"
	if err := ps.PSubscribe(connect, glob, keyspace+glob); err != nil {
		return err
	}
	if err := ps.Subscribe(connect, r.stampKey); err != nil {
		return err
	}
	// PubSub would reconnect by itself, and nobody would know what it missed: with a ctx that has ended it can't.
	ended, end := context.WithCancel(ctx)
	end()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ping(ctx, ended, ps) })
	group.Go(func() error { return r.receive(ended, ps, confirmed) })
	return group.Wait()
}

// ping keeps the connection from falling silent.
func ping(ctx, ended context.Context, ps *redis.PubSub) error {
	tick := time.NewTicker(followPing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := ps.Ping(ended); err != nil {
			return err
		}
	}
}

func (r *followRun) receive(ended context.Context, ps *redis.PubSub, confirmed chan<- struct{}) error {
	for subscriptions := 0; ; {
		msg, err := ps.ReceiveTimeout(ended, 2*followPing)
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			if subscriptions++; subscriptions == followChannels {
				confirmed <- struct{}{}
			}
		case *redis.Message:
			r.hear(msg)
		}
	}
}

// hear tells the follower of a message.
func (r *followRun) hear(msg *redis.Message) {
	switch {
	case msg.Channel == r.stampKey:
		if stamp, tags, ok := parseAdvance(msg.Payload); ok {
			r.tell(func(f follow.Follower) { f.Advanced(stamp, tags) })
		}
	case strings.HasPrefix(msg.Pattern, keyspace):
		_, key, _ := strings.Cut(msg.Channel, "__:")
		switch msg.Payload {
		case "del", "expired", "evicted", "rename_from", "move_from":
			r.tell(func(f follow.Follower) { f.Changed(key, nil) })
		}
	default:
		r.tell(func(f follow.Follower) { f.Changed(msg.Channel, []byte(msg.Payload)) })
	}
}

// parseAdvance reads what advance.lua publishes: the stamp, and then each tag with its length before it.
func parseAdvance(payload string) (stamp int64, tags []string, ok bool) {
	text, rest, _ := strings.Cut(payload, " ")
	if stamp = parseStamp(text); stamp == 0 {
		return 0, nil, false
	}
	for rest != "" {
		text, tail, found := strings.Cut(rest, ":")
		n, err := strconv.Atoi(text)
		if !found || err != nil || n < 0 || n > len(tail) {
			return 0, nil, false
		}
		tags, rest = append(tags, tail[:n]), tail[n:]
	}
	return stamp, tags, true
}

// escapeGlob gives a pattern that matches s alone.
//
// https://redis.io/docs/latest/commands/psubscribe/
func escapeGlob(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(`*?[]^\`, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
