package cachify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// NoExpiry as a time to live means that an entry or a lock stays until it is reset or released.
	NoExpiry time.Duration = -1

	// DefaultTTL is how long an entry lives if neither the call, nor the wrapper, nor the client says otherwise.
	DefaultTTL = 5 * time.Minute

	// DefaultLockTTL is how long a lock lives without renewal if neither the wrapper nor the client says otherwise.
	DefaultLockTTL = 30 * time.Second

	// DefaultOpTimeout bounds each operation on the store if the client does not say otherwise.
	DefaultOpTimeout = 250 * time.Millisecond
)

// closeTimeout bounds how long Close waits for functions that ignore their cancelled ctx.
const closeTimeout = 5 * time.Second

// Func is the shape of a function that can be wrapped. It is an alias, so K and V are inferred from any
// function, literal or method value of this shape. A wrapper's own methods ([Cached.Get], [Once.Do]) have it too,
// so wrappers nest.
type Func[K, V any] = func(ctx context.Context, args K) (V, error)

// Options are the settings of a [Client]. Nil, or a zero field, means the default.
type Options struct {
	// Prefix goes before every key, to keep services apart on one store. It must not contain "{}" or begin with "}".
	// Default: none.
	Prefix string

	// TTL is how long entries live if their wrapper does not say, [NoExpiry] for ever.
	// Default: [DefaultTTL], five minutes.
	TTL time.Duration

	// Jitter shortens each entry's time to live by a random part of it, up to this fraction (0 to 1), so that
	// what was stored together does not expire together.
	// Default: 0, none.
	Jitter float64

	// LockTTL is how long locks live without renewal if their wrapper does not say, [NoExpiry] for ever.
	// Default: [DefaultLockTTL], 30 seconds.
	LockTTL time.Duration

	// OpTimeout bounds each operation on the store, beside the caller's ctx.
	// Default: [DefaultOpTimeout], 250 milliseconds.
	OpTimeout time.Duration

	// Near gives all wrappers that have none of their own one near cache (L1) together.
	// Default: none.
	Near *NearOptions

	// NoPipeline sends each read of Get as a command of its own. Otherwise, while more than a few callers read from Redis at
	// the same time, their reads travel together: those that are asked for while others are under way, in one request.
	// Default: false.
	NoPipeline bool

	// Codec turns values into bytes and back for wrappers that do not name one.
	// Default: [MsgPack].
	Codec Codec

	// Tracer is told of every operation.
	// Default: none.
	Tracer Tracer

	// Logger receives what nobody else can be told: an outage of the store and its end, and, once for each wrapper,
	// values that can't be stored.
	// Default: [slog.Default], asked at each use.
	Logger *slog.Logger
}

// A Client is what wrappers share: a store, a prefix, defaults, and the background work. It is safe for
// concurrent use, and a program usually has one. Clients over one store share its data where their prefixes are equal.
type Client struct {
	store     Store
	opts      Options
	err       error // what is wrong with New's arguments; every constructor of a wrapper returns it
	flights   flights
	breaker   breaker
	retries   retries
	orphans   orphans
	stats     counters // what no wrapper counts
	wrappers  wrapperCounters
	deadlines deadlines

	renewals renewals
	queues   queues

	feed   nearFeed
	logged sync.Map // what warnOnce has logged

	immediate bool   // the store answers at once, so that nobody need be able to leave a call of it
	stampKey  string // hands out the prefix's reset stamps, and is the first tag of every call

	// Background work runs in ctx, and is counted so that Close can wait for it.
	ctx    context.Context
	cancel context.CancelCauseFunc
	mu     sync.Mutex
	closed bool
	tasks  sync.WaitGroup
}

// New makes a client over store. It does no I/O and does not fail: an argument that can't be right (a nil
// store, a negative duration) is the error of every wrapper that is made with the client.
func New(store Store, opts *Options) *Client {
	c := &Client{store: store, immediate: isMemory(store)}
	if opts != nil {
		c.opts = *opts
	}
	c.err = errors.Join(checkStore(store), c.opts.check())
	if c.opts.NoPipeline {
		c.store = plainly(store)
	}
	c.opts.setDefaults()
	c.deadlines.bubble = inBubble(time.Now())
	c.stampKey = stampKey(c.opts.Prefix)
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	c.feed.log = c.log
	c.feed.prefix, c.feed.born = c.opts.Prefix+cachedKind+":", time.Now()
	if c.err == nil {
		store.Open()
	}
	return c
}

// Must returns v, and panics if err is not nil. It turns a constructor's error into a panic where wrappers are
// made at package scope or at start-up.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Close cancels the loads and the background work that are under way and waits for them. It makes a last
// attempt at resets that could not reach the store, and returns an error if any of them remains undone. Close a
// client after its callers have stopped: later calls of cached functions run the function, uncached, and everything
// else returns [ErrClosed]. The store goes on working for its other clients.
func (c *Client) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again || c.err != nil {
		return nil
	}
	c.cancel(ErrClosed)
	c.feed.close()
	defer c.deadlines.stop()
	return errors.Join(c.awaitTasks(), c.lastResets(), c.store.Close())
}

func (c *Client) awaitTasks() error {
	done := make(chan struct{})
	go func() {
		c.tasks.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("cachify: after %v a cached function has not yet returned from its cancelled ctx", closeTimeout)
	}
}

// spawn runs f in a goroutine that Close waits for. It says whether it did: a closed client starts nothing.
func (c *Client) spawn(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(f)
	return true
}

func (c *Client) isClosed() bool { return c.ctx.Err() != nil }

// usable is what constructors of wrappers check first.
func (c *Client) usable() error {
	if c == nil {
		return errors.New("cachify: the client is nil: make one with cachify.New")
	}
	return c.err
}

func checkStore(store Store) error {
	if store == nil {
		return errors.New("cachify: the store is nil: use cachify.Redis(rdb) or cachify.Memory()")
	}
	if s, ok := store.(interface{ Err() error }); ok {
		return s.Err()
	}
	return nil
}

func (o *Options) check() error {
	var errs []error
	if strings.Contains(stampKey(o.Prefix), "{}") {
		errs = append(errs, fmt.Errorf(`cachify: Options.Prefix %q contains "{}" or begins with "}", which breaks the hash tags of Redis Cluster: leave it out`, o.Prefix))
	}
	errs = append(errs, o.Near.check("Options.Near"), checkTTL("Options.TTL", o.TTL), checkJitter("Options.Jitter", o.Jitter), checkLockTTL("Options.LockTTL", o.LockTTL))
	if o.OpTimeout < 0 {
		errs = append(errs, fmt.Errorf("cachify: Options.OpTimeout is %v: it must be positive, or 0 for %v", o.OpTimeout, DefaultOpTimeout))
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.LockTTL == 0 {
		o.LockTTL = DefaultLockTTL
	}
	if o.OpTimeout <= 0 {
		o.OpTimeout = DefaultOpTimeout
	}
	if o.Codec == nil {
		o.Codec = MsgPack()
	}
}

// checkTTL accepts a positive ttl, 0 for the default, and NoExpiry.
func checkTTL(name string, ttl time.Duration) error {
	if ttl < 0 && ttl != NoExpiry {
		return fmt.Errorf("cachify: %s is %v: it must be positive, 0 for the default, or cachify.NoExpiry", name, ttl)
	}
	return nil
}

// checkLockTTL is checkTTL, with a lower bound: a lock that lives for less than a millisecond protects nothing.
func checkLockTTL(name string, ttl time.Duration) error {
	if ttl > 0 && ttl < time.Millisecond {
		return fmt.Errorf("cachify: %s is %v: a lock must live for at least a millisecond", name, ttl)
	}
	return checkTTL(name, ttl)
}

func checkJitter(name string, jitter float64) error {
	if jitter >= 0 && jitter <= 1 { // false for NaN
		return nil
	}
	return fmt.Errorf("cachify: %s is %v: it must be a fraction from 0 to 1", name, jitter)
}

// warnOnce logs what goes wrong in the same way on every call just once for each wrapper.
func (c *Client) warnOnce(ctx context.Context, msg, template string, err error) {
	if _, again := c.logged.LoadOrStore(msg+template, true); !again {
		c.log().WarnContext(ctx, msg, "template", template, "error", err)
	}
}

func (c *Client) log() *slog.Logger {
	if c.opts.Logger != nil {
		return c.opts.Logger
	}
	return slog.Default()
}
