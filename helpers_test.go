package cachify_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"strings"
	"sync"
	"testing"
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

// wantMessage checks that err is one of cachify's and says what it must.
func wantMessage(t testing.TB, err error, part string) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || !strings.Contains(err.Error(), part) {
		t.Errorf("error %v, want one of cachify's about %q", err, part)
	}
}
