package cachify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// patience is how long a test waits for what must happen. Nothing takes that long.
const patience = 15 * time.Second

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler)) // outages and panics are logged at length
	log.SetOutput(io.Discard)
	redis.SetLogger(quiet{})
	goleak.VerifyTestMain(m)
}

type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

// eachStore runs test on the stores that come with cachify, with miniredis in the place of a server.
func eachStore(t *testing.T, test func(t *testing.T, store cachify.Store)) {
	t.Run("memory", func(t *testing.T) { test(t, cachify.Memory()) })
	t.Run("redis", func(t *testing.T) {
		rdb, _ := redistest.Mini(t)
		test(t, cachify.Redis(rdb))
	})
}

// newClient gives a client that is closed with the test. Its operations have time enough on a busy machine, if
// opts don't say otherwise.
func newClient(t testing.TB, store cachify.Store, opts *cachify.Options) *cachify.Client {
	var o cachify.Options
	if opts != nil {
		o = *opts
	}
	if o.OpTimeout == 0 {
		o.OpTimeout = patience
	}
	c := cachify.New(store, &o)
	t.Cleanup(func() { noError(t, c.Close()) })
	return c
}

// newCached wraps fn under a template for scalars.
func newCached[K, V any](c *cachify.Client, fn cachify.Func[K, V], opts *cachify.CachedOptions) *cachify.Cached[K, V] {
	return cachify.Must(cachify.NewCached(c, "f-<n>", fn, opts))
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits until ok, which other goroutines bring about.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// receive takes from ch what must come.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("in vain: %s", what)
		panic("unreachable")
	}
}

type result[V any] struct {
	value V
	err   error
}

// async makes a call in a goroutine.
func async[V any](call func() (V, error)) <-chan result[V] {
	ch := make(chan result[V], 1)
	go func() {
		v, err := call()
		ch <- result[V]{v, err}
	}()
	return ch
}

// gives checks what an async call returned.
func gives[V comparable](t testing.TB, ch <-chan result[V], want V) {
	t.Helper()
	r := receive(t, "the call's end", ch)
	if r.err != nil || r.value != want {
		t.Fatalf("got %v, %v, want %v", r.value, r.err, want)
	}
}

// A puppet is a function whose runs wait for the test to say how they end.
type puppet struct {
	runs chan *run
	quit chan struct{} // closed with the test
}

type run struct {
	ctx  context.Context
	args int
	end  chan func() (string, error)
}

func newPuppet(t testing.TB) puppet {
	p := puppet{make(chan *run, 1000), make(chan struct{})}
	t.Cleanup(func() { close(p.quit) })
	return p
}

func (p puppet) fn(ctx context.Context, args int) (string, error) {
	r := &run{ctx, args, make(chan func() (string, error), 1)}
	p.runs <- r
	select {
	case end := <-r.end:
		return end()
	case <-p.quit:
		return "", errors.New("the test is over")
	}
}

// next gives the next run, once it has begun.
func (p puppet) next(t testing.TB) *run {
	t.Helper()
	return receive(t, "a run of the function", p.runs)
}

// idle checks that no other run has begun.
func (p puppet) idle(t testing.TB) {
	t.Helper()
	if n := len(p.runs); n != 0 {
		t.Fatalf("%d runs of the function too many", n)
	}
}

func (r *run) ends(f func() (string, error)) { r.end <- f }
func (r *run) returns(v string)              { r.ends(func() (string, error) { return v, nil }) }
func (r *run) fails(err error)               { r.ends(func() (string, error) { return "", err }) }

// A logBuffer is what a logger writes to.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// count gives the number of records with text in them.
func (l *logBuffer) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func (l *logBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func square(_ context.Context, n int) (int, error) { return n * n, nil }

func TestNewErrors(t *testing.T) {
	memory := cachify.Memory()
	tests := []struct {
		name  string
		store cachify.Store
		opts  cachify.Options
		want  string
	}{
		{"nil store", nil, cachify.Options{}, "the store is nil"},
		{"nil Redis client", cachify.Redis(nil), cachify.Options{}, "the Redis client is nil"},
		{"nil *redis.Client", cachify.Redis((*redis.Client)(nil)), cachify.Options{}, "the Redis client is nil"},
		{"prefix", memory, cachify.Options{Prefix: "a{}b:"}, "Options.Prefix"},
		{"negative TTL", memory, cachify.Options{TTL: -time.Second}, "Options.TTL"},
		{"negative lock TTL", memory, cachify.Options{LockTTL: -2}, "Options.LockTTL"},
		{"tiny lock TTL", memory, cachify.Options{LockTTL: time.Millisecond - 1}, "Options.LockTTL"},
		{"negative timeout", memory, cachify.Options{OpTimeout: -1}, "Options.OpTimeout"},
		{"negative jitter", memory, cachify.Options{Jitter: -0.1}, "Options.Jitter"},
		{"large jitter", memory, cachify.Options{Jitter: 1.1}, "Options.Jitter"},
		{"NaN jitter", memory, cachify.Options{Jitter: math.NaN()}, "Options.Jitter"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := cachify.New(test.store, &test.opts)
			cached, err := cachify.NewCached(c, "f-<n>", square, nil)
			wantMessage(t, err, test.want)
			once, onceErr := cachify.NewOnce(c, "f-<n>", square, nil)
			wantMessage(t, onceErr, test.want)
			if cached != nil || once != nil {
				t.Error("a wrapper came with the error")
			}
			wantMessage(t, c.ResetTags(t.Context(), "tag"), test.want)
			noError(t, c.Close())
		})
	}
	t.Run("nil client", func(t *testing.T) {
		_, err := cachify.NewCached(nil, "f-<n>", square, nil)
		wantMessage(t, err, "the client is nil")
		_, err = cachify.NewOnce(nil, "f-<n>", square, nil)
		wantMessage(t, err, "the client is nil")
	})
	t.Run("several at once", func(t *testing.T) {
		_, err := cachify.NewCached(cachify.New(nil, &cachify.Options{TTL: -2}), "f-<n>", square, nil)
		wantMessage(t, err, "the store is nil")
		wantMessage(t, err, "Options.TTL")
	})
}

// wantMessage checks that err is one of cachify's and says what it must.
func wantMessage(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one of cachify's about %q", err, part)
	}
}

func TestMust(t *testing.T) {
	equal(t, "Must", cachify.Must(7, nil), 7)
	cause := errors.New("no")
	defer func() { equal(t, "panic", recover(), any(cause)) }()
	cachify.Must(7, cause)
}

func TestClientsSideBySide(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		here, there := newClient(t, store, &cachify.Options{Prefix: "here:"}), newClient(t, store, &cachify.Options{Prefix: "there:"})
		names := map[*cachify.Client]string{here: "here", there: "there"}
		wrappers := map[*cachify.Client]*cachify.Cached[int, string]{}
		for c, name := range names {
			wrappers[c] = newCached(c, func(ctx context.Context, _ int) (string, error) {
				cachify.AddTags(ctx, "tag")
				return name, nil
			}, nil)
			key, err := wrappers[c].Key(1)
			noError(t, err)
			equal(t, "key", key, name+":cached:f-1")
		}
		present := func(c *cachify.Client) bool {
			v, ok, err := wrappers[c].Peek(ctx, 1)
			if err != nil || ok && v != names[c] {
				t.Fatalf("Peek gave %q, %v", v, err)
			}
			return ok
		}
		for name, reset := range map[string]func() error{
			"Reset":     func() error { return wrappers[here].Reset(ctx, 1) },
			"ResetAll":  func() error { return wrappers[here].ResetAll(ctx) },
			"ResetTags": func() error { return here.ResetTags(ctx, "tag") },
		} {
			for c, want := range names {
				v, err := wrappers[c].Get(ctx, 1)
				noError(t, err)
				equal(t, "value", v, want)
			}
			noError(t, reset())
			if present(here) || !present(there) {
				t.Fatalf("%s: entries present: here %v, there %v", name, present(here), present(there))
			}
		}
	})
}

func TestClientsOverOneStoreShareData(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		one, other := cachify.New(store, nil), newClient(t, store, nil)
		p := newPuppet(t)
		p1, p2 := newCached(one, p.fn, nil), newCached(other, p.fn, nil)
		noError(t, p1.Put(ctx, 1, "put"))
		v, err := p2.Get(ctx, 1)
		noError(t, err)
		equal(t, "value", v, "put")
		noError(t, one.Close())
		v, err = p2.Get(ctx, 1)
		noError(t, err)
		equal(t, "value after the other's Close", v, "put")

		// What needs notifications works on as well.
		third := newCached(newClient(t, store, nil), p.fn, nil)
		leader := async(func() (string, error) { return p2.Get(ctx, 2) })
		r := p.next(t)
		waiter := async(func() (string, error) { return third.Get(ctx, 2) })
		r.returns("loaded")
		gives(t, leader, "loaded")
		gives(t, waiter, "loaded")
		p.idle(t)
	})
}

func TestGetAfterCloseRunsTheFunction(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := cachify.New(store, nil)
		calls := 0
		f := newCached(c, func(context.Context, int) (int, error) { calls++; return calls, nil }, nil)
		batched := f.Batch(func(_ context.Context, args []int) ([]int, error) {
			calls++
			return make([]int, len(args)), nil
		})
		_, err := f.Get(ctx, 1)
		noError(t, err)
		noError(t, c.Close())
		noError(t, c.Close())

		calls = 1
		for name, call := range map[string]func() error{
			"Get of what was stored": func() error { _, err := f.Get(ctx, 1); return err },
			"Get of something new":   func() error { _, err := f.Get(ctx, 2); return err },
			"Refresh":                func() error { _, err := f.Refresh(ctx, 1); return err },
			"GetMany":                func() error { _, err := f.GetMany(ctx, []int{1}); return err },
			"GetMany with Batch":     func() error { _, err := batched.GetMany(ctx, []int{1, 2, 3}); return err },
		} {
			before := calls
			if err := call(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if calls != before+1 {
				t.Errorf("%s: the function ran %d times, want once", name, calls-before)
			}
		}
	})
}

func TestEverythingElseAfterCloseIsErrClosed(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := cachify.New(store, nil)
		f := newCached(c, square, nil)
		once := cachify.Must(cachify.NewOnce(c, "f-<n>", func(context.Context, int) (int, error) {
			t.Error("Once ran its function on a closed client")
			return 0, nil
		}, nil))
		noError(t, c.Close())
		for name, call := range map[string]func() error{
			"Put":       func() error { return f.Put(ctx, 1, 1) },
			"Peek":      func() error { _, _, err := f.Peek(ctx, 1); return err },
			"Reset":     func() error { return f.Reset(ctx, 1) },
			"ResetAll":  func() error { return f.ResetAll(ctx) },
			"ResetTags": func() error { return c.ResetTags(ctx, "tag") },
			"Do":        func() error { _, err := once.Do(ctx, 1); return err },
			"Do with a value to return": func() error {
				_, err := once.ReturnOnLocked(1).Do(ctx, 1)
				return err
			},
			"IsLocked": func() error { _, err := once.IsLocked(ctx, 1); return err },
			"Release":  func() error { return once.Release(ctx, 1) },
		} {
			if err := call(); !errors.Is(err, cachify.ErrClosed) {
				t.Errorf("%s: %v, want ErrClosed", name, err)
			}
		}
	})
}

// The bubble of synctest does not end before its goroutines have: so Close has ended all of them.
func TestCloseEndsLoadsAndBackgroundWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c, other := cachify.New(store, nil), newClient(t, store, nil)
		block := func(ctx context.Context, _ int) (string, error) {
			<-ctx.Done()
			return "", context.Cause(ctx)
		}
		f, g := newCached(c, block, nil), newCached(other, block, nil)
		ctx, cancel := context.WithCancelCause(t.Context())
		theirs := async(func() (string, error) { return g.Get(ctx, 1) })
		synctest.Wait()
		waits := async(func() (string, error) { return f.Get(ctx, 1) })
		loads := async(func() (string, error) { return f.Get(ctx, 2) })
		time.Sleep(10 * time.Second) // leases are renewed meanwhile
		store.set(failing)
		for range 3 { // opens the breaker, which starts its probe, and leaves a reset to the background
			if err := f.Reset(ctx, 3); err == nil {
				t.Error("Reset: no error in an outage")
			}
		}
		if s := c.Stats(); !s.BreakerOpen || s.PendingReset != 1 {
			t.Errorf("%+v: the breaker should be open, and a reset pending", s)
		}
		store.set(nil)

		noError(t, c.Close())
		wantError(t, (<-loads).err, cachify.ErrClosed)
		ended := errors.New("the callers' ctx has ended")
		cancel(ended)
		for _, call := range []<-chan result[string]{waits, theirs} {
			if err := (<-call).err; !errors.Is(err, ended) && !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that of the ctx", err)
			}
		}
	})
}

func TestCloseLeavesNoGoroutineOnRedis(t *testing.T) {
	before := goleak.IgnoreCurrent()
	rdb, m := redistest.Mini(t)
	p := newPuppet(t)
	c, other := cachify.New(cachify.Redis(rdb), nil), cachify.New(cachify.Redis(rdb), nil)
	f, g := newCached(c, p.fn, nil), newCached(other, p.fn, nil)
	ctx := t.Context()
	leader := async(func() (string, error) { return f.Get(ctx, 1) })
	r := p.next(t)
	waiter := async(func() (string, error) { return g.Get(ctx, 1) }) // opens a connection for notifications
	eventually(t, "the waiter waits", func() bool { return other.Stats().Waits == 1 })
	r.returns("v")
	gives(t, leader, "v")
	gives(t, waiter, "v")
	noError(t, c.Close())
	noError(t, other.Close())
	noError(t, rdb.Close())
	m.Close()
	goleak.VerifyNone(t, before)
}

func TestCloseDoesNotWaitForEverForFunctions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := cachify.New(cachify.Memory(), nil)
		p := newPuppet(t)
		f := newCached(c, p.fn, nil)
		leader := async(func() (string, error) { return f.Get(t.Context(), 1) })
		r := p.next(t)
		start := time.Now()
		wantMessage(t, c.Close(), "has not yet returned")
		equal(t, "Close took", time.Since(start), 5*time.Second)
		r.returns("late")
		gives(t, leader, "late")
	})
}
