package cachify

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"
)

// CachedOptions are the settings of a [Cached]. Nil, or a zero field, means the default.
type CachedOptions struct {
	// TTL is how long entries live, [NoExpiry] for ever. [SetTTL] overrides it for one run of the function.
	// Default: Options.TTL.
	TTL time.Duration

	// Jitter shortens each entry's time to live by a random part of it, up to this fraction (0 to 1).
	// Default: Options.Jitter.
	Jitter float64

	// Tags are templates over K, such as "user-<user_id>". Each entry carries them, and [Client.ResetTags]
	// with one of them makes it a miss. [AddTags] adds more from inside the function.
	// Default: none.
	Tags []string

	// RefreshAhead has a hit in the last part of an entry's time to live, this fraction of it (0 to 1), start a refresh in
	// the background. The caller gets the value that is there, at once. One process of all does it.
	// Default: 0, never.
	RefreshAhead float64

	// MaxStale is how long after its time to live a value may still be given out while a new one is loaded
	// (stale-while-revalidate) or if that fails (stale-if-error, both after RFC 5861). One process of all loads; after a failure
	// it, or another, tries again after a second or two. A Reset ends a stale value as it does any.
	// Default: 0, not at all.
	MaxStale time.Duration

	// SoftLoadTimeout is how long a caller who finds a stale value waits for the new one, if that is loaded in its
	// process, before it is given the stale one. The load goes on, and is stored.
	// Default: 0, the caller gets the stale value at once.
	SoftLoadTimeout time.Duration

	// LoadTimeout bounds each run of the function, whose ctx ends then, and how long a caller waits for one. Who gets
	// no value by then gets an error that wraps [context.DeadlineExceeded].
	// Default: 0, no bound beside ctx.
	LoadTimeout time.Duration

	// Negative are errors that say that what was asked for does not exist, such as sql.ErrNoRows. A run that returns one
	// of them, also wrapped, is remembered for NegativeTTL: Get then returns the one from this list, without running the function.
	// Default: none, errors are not remembered.
	Negative []error

	// NegativeTTL is how long an error of Negative is remembered.
	// Default: a minute, or TTL if that is shorter.
	NegativeTTL time.Duration

	// TouchOnHit makes expiry slide: a hit has the entry live for its whole time to live again, the one that it was stored with. That is
	// done in the background, at most about ten times in that time.
	// Default: false.
	TouchOnHit bool

	// StoreInBackground gives callers their value before it is written to the store. The lease goes on keeping others from
	// loading it, so all promises hold as before.
	// Default: false, a caller that loaded a value finds it in the store.
	StoreInBackground bool

	// MaxBytes is the longest entry that is stored, in bytes as encoded. The value of a longer one reaches the caller all
	// the same, and so it does every time, since nothing is stored; it is logged once, and the tracer hears of it in Outcome.StoreErr of each load.
	// Put of a longer one is an error, and the entry that was there is reset.
	// Default: 0, no limit.
	MaxBytes int

	// Near gives the wrapper a near cache (L1) of its own.
	// Default: Options.Near.
	Near *NearOptions

	// Codec turns values into bytes and back. Entries of another codec are misses.
	// Default: Options.Codec.
	Codec Codec

	kind string // of the keys: see package internal/keykind
}

// BatchFunc loads many values in one call. It returns one value for each of args, in their order, or an error
// for all of them. A [*BatchError] beside the values says which of args failed: their values do not count, the others are stored and
// given out, and an error of CachedOptions.Negative is remembered for its argument.
type BatchFunc[K, V any] = func(ctx context.Context, args []K) ([]V, error)

// A Cached remembers a function's results in the client's store, by a key that a template makes of the
// function's arguments. It is safe for concurrent use. Make one with [NewCached].
type Cached[K, V any] struct {
	client       *Client
	fn           Func[K, V]
	batch        BatchFunc[K, V]
	template     *template[K]
	tagTemplates []*template[K]
	prefix       string   // of keys: the client's, and the kind
	tags         []string // of every entry: the prefix's stamp and the wrapper's own tag
	codec        Codec
	fingerprint  uint64
	opts         CachedOptions
	stats        *counters
	touches      *touches // nil: TouchOnHit is off
	near         *near    // nil: there is no near cache
	shares       bool     // whether callers may share a value out of it
}

// NewCached wraps fn so that its results are remembered. template makes the key: "read_user-<user_id>" (see docs/keys.md).
//
// The errors are those of a nil client or function and of what was wrong with the client's options, a
// [*TemplateError] for a template that does not parse or does not fit K, options out of range, and a V that the codec
// can't carry whole.
//
// fn runs in a goroutine of its own. Its ctx has the values of the first caller's ctx, and is cancelled when no
// caller is waiting any more, so one caller's cancellation never fails the others. A panic in fn reaches the
// caller that ran it.
func NewCached[K, V any](c *Client, template string, fn Func[K, V], opts *CachedOptions) (*Cached[K, V], error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if fn == nil {
		return nil, fmt.Errorf("cachify: template %q: the function is nil: give NewCached the function whose results to remember", template)
	}
	var o CachedOptions
	if opts != nil {
		o = *opts
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	o.setDefaults(&c.opts)
	valueType := reflect.TypeFor[V]()
	if err := checkValueType(valueType, o.Codec); err != nil {
		return nil, err
	}
	t, err := newTemplate[K](template)
	if err != nil {
		return nil, err
	}
	w := &Cached[K, V]{
		client: c, fn: fn, template: t, codec: o.Codec, opts: o, touches: newTouches(&o),
		prefix:      c.opts.Prefix + o.kind + ":",
		tags:        []string{c.stampKey, c.wrapperTagKey(o.tagText(template))},
		fingerprint: fingerprint(strings.Join(append([]string{template}, o.Tags...), "\x00"), valueType, o.Codec.Name()),
	}
	for _, tag := range o.Tags {
		t, err := newTagTemplate[K](tag)
		if err != nil {
			return nil, err
		}
		w.tagTemplates = append(w.tagTemplates, t)
	}
	if o.kind == cachedKind {
		if w.near, err = c.nearOf(o.Near); err != nil {
			return nil, err
		}
	}
	w.stats = c.countersOf(o.kind, template)
	w.shares = w.near != nil && (w.near.shared || isImmutable(valueType))
	return w, nil
}

// Batch returns a copy of c whose [Cached.GetMany] gives all the misses of one call to batch in one call.
// Entries are shared with c.
func (c *Cached[K, V]) Batch(batch BatchFunc[K, V]) *Cached[K, V] {
	with := *c
	with.batch = batch
	return &with
}

// Get returns the value for args: the stored one, or else the function's result, which is then stored. Among all
// callers in all processes that miss at the same time, one runs the function and the others wait for it.
//
// Get fails open: when the store can't be used, the function is called, and its result is what the caller gets. So
// an error is the function's own, or ctx's. The value is the caller's to change.
func (c *Cached[K, V]) Get(ctx context.Context, args K) (V, error) {
	if c.client.opts.Tracer != nil {
		return c.getTraced(ctx, args)
	}
	if c.near != nil {
		if key, err := c.Key(args); err == nil {
			if v, ok, err := c.nearGet(ctx, key, args, nil); ok {
				return v, err
			}
		}
	}
	var call struct { // one allocation for both
		a   address[K]
		out Outcome
	}
	var err error
	if call.a, err = c.address(args); err != nil {
		return c.uncached(ctx, "Get", args, err)
	}
	return c.get(ctx, &call.a, &call.out)
}

func (c *Cached[K, V]) getTraced(ctx context.Context, args K) (V, error) {
	a, err := c.address(args)
	if err != nil {
		return c.uncached(ctx, "Get", args, err)
	}
	return c.traced(ctx, "Get", &a, func(ctx context.Context, a *address[K], out *Outcome) (V, error) {
		if c.near != nil {
			out.Status = "near"
			if v, ok, err := c.nearGet(ctx, a.key, a.args, out); ok {
				return v, err
			}
			out.Status = ""
		}
		return c.get(ctx, a, out)
	})
}

// Refresh runs the function for args and stores its result in place of what is there, and returns it. It never joins a
// load that began earlier, and a Reset or Put during the run wins over it. Until the new value is stored,
// Get serves the old one. Refresh fails open as Get does.
func (c *Cached[K, V]) Refresh(ctx context.Context, args K) (V, error) {
	a, err := c.address(args)
	if err != nil {
		return c.uncached(ctx, "Refresh", args, err)
	}
	return c.traced(ctx, "Refresh", &a, c.refresh)
}

// Put stores v for args, as if the function had just returned it, under CachedOptions.Tags. It wins over every load that
// began before it.
// If it fails, the entry that was there may be out of date, so it is reset in the background.
func (c *Cached[K, V]) Put(ctx context.Context, args K, v V) error {
	return c.do(ctx, "Put", args, func(ctx context.Context, a *address[K]) error { return c.put(ctx, a, v) })
}

// Peek returns the stored value for args, and whether there is one; an error that is remembered is none. It never runs the
// function. An error is
// the store's, or that of an argument that has no key.
func (c *Cached[K, V]) Peek(ctx context.Context, args K) (v V, ok bool, err error) {
	err = c.do(ctx, "Peek", args, func(ctx context.Context, a *address[K]) error {
		v, ok, err = c.peek(ctx, a)
		return err
	})
	return v, ok, err
}

// Reset removes the entry for args. After it has returned, no Get that starts later, in any process, returns
// a value that was loaded before Reset began, also if that load is still under way (docs/guarantees.md has the small
// print). Call it after the write it follows has been committed.
//
// An error means that the store could not be reached. The reset is then tried again in the background until
// it is done, or the client is closed; until then Get in this process does without the entry.
func (c *Cached[K, V]) Reset(ctx context.Context, args K) error {
	return c.do(ctx, "Reset", args, c.reset)
}

// ResetAll makes all entries of the template a miss, in one round trip however many there are. The promise of
// Reset holds for it as well, and so does what Reset says about errors.
func (c *Cached[K, V]) ResetAll(ctx context.Context) error {
	ctx, end := c.client.trace(ctx, Operation{Name: "ResetAll", Template: c.template.text()})
	err := c.client.advance(ctx, c.stats, c.tags)
	if err != nil {
		err = fmt.Errorf("cachify: ResetAll of %q: %w", c.template.text(), err)
	}
	end(Outcome{Err: err})
	return err
}

// Key returns the key of the entry for args, exactly as it is in Redis. An error means that args has no
// key, such as a NaN.
func (c *Cached[K, V]) Key(args K) (string, error) {
	return c.template.render(c.prefix, args)
}

// wrapperTags is how many tags every entry is under without any being named: the prefix's stamp and the wrapper's own.
const wrapperTags = 2

// An address is where the entry for some arguments is, and the tags that it is under.
type address[K any] struct {
	args  K
	key   string
	names []string // of its tags, as users gave them
	tags  []string // keys of the stamp, the wrapper's tag, and those of names
}

func (c *Cached[K, V]) address(args K) (address[K], error) {
	key, err := c.Key(args)
	if err != nil {
		return address[K]{}, err
	}
	a := address[K]{args: args, key: key, tags: c.tags}
	if len(c.tagTemplates) == 0 {
		return a, nil
	}
	a.tags = append(make([]string, 0, len(c.tags)+len(c.tagTemplates)), c.tags...)
	for _, t := range c.tagTemplates {
		name, err := t.render("", args)
		if err != nil {
			return address[K]{}, err
		}
		a.names = append(a.names, name)
		a.tags = append(a.tags, c.client.tagKey(name))
	}
	return a, nil
}

// uncached runs the function for arguments that have no key.
func (c *Cached[K, V]) uncached(ctx context.Context, name string, args K, cause error) (V, error) {
	return c.traced(ctx, name, &address[K]{args: args}, func(ctx context.Context, a *address[K], out *Outcome) (V, error) {
		out.Status, out.StoreErr = "bypass", cause
		c.client.warnOnce(ctx, "cachify: arguments without a key; the function runs uncached", c.template.text(), cause)
		c.stats.bypasses.Add(1)
		return c.runAlone(ctx, a.args)
	})
}

// traced is f with the tracer told.
func (c *Cached[K, V]) traced(ctx context.Context, name string, a *address[K], f func(context.Context, *address[K], *Outcome) (V, error)) (v V, err error) {
	ctx, end := c.client.trace(ctx, Operation{Name: name, Template: c.template.text(), Key: a.key})
	out := Outcome{Err: errCrashed}
	defer func() { end(out) }()
	v, err = f(ctx, a, &out)
	out.Err = err
	return v, err
}

// do is what the methods share that return an error if the store can't be used.
func (c *Cached[K, V]) do(ctx context.Context, name string, args K, f func(context.Context, *address[K]) error) error {
	a, err := c.address(args)
	if err != nil {
		return err
	}
	if c.client.isClosed() {
		return ErrClosed
	}
	ctx, end := c.client.trace(ctx, Operation{Name: name, Template: c.template.text(), Key: a.key})
	if err = f(ctx, &a); err != nil {
		err = fmt.Errorf("cachify: %s %s: %w", name, a.key, err)
	}
	end(Outcome{Err: err})
	return err
}

// put takes two steps: a lease of its own in the place of whatever is there, then the value in the place of that
// lease. Were it one unconditional write, an attempt given up might reach the server late, after a Reset.
func (c *Cached[K, V]) put(ctx context.Context, a *address[K], v V) error {
	defer c.client.feed.changed(entryID{}, a.key)
	lease := c.newLease(time.Now())
	stamp, err := c.putLease(ctx, a.key, lease)
	if err != nil {
		return c.putFailed(a, err)
	}
	ttl := c.withJitter(c.opts.TTL)
	e := envelope{flags: flagValue, id: lease.id(), created: time.Now().UnixMicro(), stamp: stamp, fingerprint: c.fingerprint, tags: a.names}
	e.softExpiry = softExpiry(e.created, ttl)
	data, err := e.encode(c.codec, a.key, &v)
	if err == nil {
		err = c.checkLength(a.key, data)
	}
	if err != nil {
		return c.putFailed(a, err)
	}
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	_, _, err = c.client.store.Set(op, lease.head(), []string{a.key}, [][]byte{data}, []time.Duration{c.keepFor(ttl)}, a.tags)
	if c.report(ctx, err) != nil {
		return c.putFailed(a, err)
	}
	c.stats.invalidations.Add(1)
	c.client.flights.forgetBypasses(a.key)
	return nil
}

// putLease puts a lease in the place of whatever is there, and returns the reset stamp of now.
func (c *Cached[K, V]) putLease(ctx context.Context, key string, lease lease) (int64, error) {
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	_, stamps, err := c.client.store.Set(op, nil, []string{key}, [][]byte{lease}, []time.Duration{leaseTTL}, c.tags[:1])
	if c.report(ctx, err) != nil {
		return 0, err
	}
	return stamps[0], nil
}

func (c *Cached[K, V]) putFailed(a *address[K], err error) error {
	c.client.flights.forgetBypasses(a.key)
	c.client.retries.addKey(c.client, a.key, c.tags[1])
	return err
}

func (c *Cached[K, V]) peek(ctx context.Context, a *address[K]) (v V, ok bool, err error) {
	op, cancel := c.client.opContext(ctx)
	defer cancel()
	values, stamps, err := c.lookAt(op, []string{a.key}, a.tags)
	if c.report(ctx, err) != nil || values[0] == nil || c.client.retries.holds(a.key, a.tags) {
		return v, false, err
	}
	e, found, err := c.read(ctx, a, values[0], stamps, &v)
	return v, found == isValue && e.flags&flagValue != 0, err
}

// lookAt reads keys and tags. What package httpcache stores can be long, and is not written to: so the store in memory need not copy it.
func (c *Cached[K, V]) lookAt(ctx context.Context, keys, tags []string) ([][]byte, []int64, error) {
	if s, ok := c.client.store.(interface {
		View(ctx context.Context, keys, tags []string) ([][]byte, []int64, error)
	}); ok && c.opts.kind != cachedKind {
		return s.View(ctx, keys, tags)
	}
	return c.client.store.Get(ctx, keys, tags, nil)
}

func (c *Cached[K, V]) reset(ctx context.Context, a *address[K]) error {
	return c.resetKeys(ctx, []string{a.key})
}
