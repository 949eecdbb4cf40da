package httpcache

import (
	"context"
	"errors"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/keykind"
)

// Among the requests that want what the store does not have, cachify's lease has one run the handler, in whichever process, and the
// others wait. But cachify loads in a goroutine of its own, and a handler has to run in the one of its request. So a load asks
// the request that it is made for, found through its ctx, to run the handler, and waits for the outcome.

// A job is what a load is to do, found through its ctx.
type job struct {
	run func(ctx context.Context) outcome

	// For revalidations: those of one answer are coalesced at a key of their own, again, so that the old answer stays where it is.
	again, of key
}

type jobKey struct{}

func (j *job) context(ctx context.Context) context.Context {
	return context.WithValue(context.WithoutCancel(ctx), jobKey{}, j)
}

var errNoJob = errors.New("cachify: httpcache: nobody is there to run the handler")

// A core is what a Cache shares with those derived from it.
type core struct {
	client   *cachify.Client
	entries  *cachify.Cached[key, *entry]
	passing  passing
	renewing renewing
}

// newEntries is where the store is reached. Keys and tags are those of key.
func (c *core) newEntries() (err error) {
	opts := &cachify.CachedOptions{Tags: []string{pathTag + "<path>"}, Codec: storedCodec{}}
	keykind.Of(opts, "http")
	c.entries, err = cachify.NewCached(c.client, "get:<path>#<rest>", c.load, opts)
	return err
}

// pathTag begins the tags by which all that is stored of a URL is purged.
const pathTag = "http:"

// load is the function of entries.
func (c *core) load(ctx context.Context, k key) (*entry, error) {
	j, _ := ctx.Value(jobKey{}).(*job)
	if j == nil {
		return nil, errNoJob
	}
	if k == j.again {
		return c.loadAgain(ctx, j)
	}
	out := j.run(ctx)
	if out.err != nil {
		return nil, out.err
	}
	if out.leave {
		cachify.NoStore(ctx)
		return out.entry, nil
	}
	cachify.SetTTL(ctx, out.ttl)
	cachify.AddTags(ctx, out.tags...)
	return out.entry, nil
}

// loadAgain makes a new answer, and gives those who wait the word that it is there.
func (c *core) loadAgain(ctx context.Context, j *job) (*entry, error) {
	e, err := c.entries.Refresh(ctx, j.of)
	if err != nil {
		return nil, err
	}
	k, ttl := e.kind, passFor
	switch k {
	case isAnswer:
		k = isRenewed
	case isFailing:
		ttl = failingFor
	}
	cachify.SetTTL(ctx, ttl)
	return &entry{kind: k, id: newID()}, nil
}

// A turn is a request's part of a load: it may be asked to run the handler.
type turn struct {
	asked   chan struct{} // received from: the request runs the handler
	left    chan struct{} // closed: it is not there any more
	outcome chan outcome
}

func newTurn() *turn {
	return &turn{make(chan struct{}), make(chan struct{}), make(chan outcome, 1)}
}

// run is called by the load.
func (t *turn) run(ctx context.Context) outcome {
	select {
	case t.asked <- struct{}{}:
	case <-t.left:
		return outcome{err: errLost}
	case <-ctx.Done():
		return outcome{err: ctx.Err()}
	}
	select {
	case out := <-t.outcome:
		return out
	case <-ctx.Done(): // the client was closed
		return outcome{err: ctx.Err()}
	}
}

// A result is what a load has for one that has not run the handler itself.
type result struct {
	entry *entry
	err   error
}

// A way is how the store is asked for an entry.
type way int

const (
	toFill    way = iota // nothing is there: one fills it, the others wait
	toRenew              // something stale is there: one makes it anew, the others wait
	toReplace            // make it anew, for this request
)

// take asks the store for what is at u.at, and runs the handler if it is this request's turn. answered: the client has its answer;
// otherwise another request has made an entry, or there was an error.
func (x *exchange) take(by way, u *run) (res result, answered bool) {
	t := newTurn()
	j := &job{run: t.run}
	if by == toRenew {
		j.again, j.of = u.at.key.again(u.base.id), u.at.key
	}
	ctx, cancel := context.WithCancel(j.context(x.r.Context()))
	defer cancel()
	got := make(chan result, 1)
	go func() {
		e, err := x.c.core.ask(ctx, by, j, u.at.key)
		got <- result{e, err}
	}()
	select {
	case <-t.asked:
		u.deliver = func(out outcome) { t.outcome <- out }
		u.do()
		<-got // it is stored now, or will not be, before the client has all of its answer
		return res, true
	case res = <-got:
		return res, false
	case <-x.r.Context().Done():
		close(t.left)
		return result{err: x.r.Context().Err()}, false
	}
}

func (c *core) ask(ctx context.Context, by way, j *job, k key) (*entry, error) {
	switch by {
	case toFill:
		return c.entries.Get(ctx, k)
	case toRenew:
		return c.entries.Get(ctx, j.again)
	}
	return c.entries.Refresh(ctx, k)
}

// usable says whether the store is worth asking. Peek asks it also in an outage, which costs a timeout.
func (c *core) usable() bool { return !c.client.Stats().BreakerOpen }

func (c *core) peek(ctx context.Context, k key) (*entry, error) {
	e, ok, err := c.entries.Peek(ctx, k)
	if err != nil || !ok {
		return nil, err
	}
	return e, nil
}
