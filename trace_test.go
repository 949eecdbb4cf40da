package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A recorder is a tracer that writes down what it is told.
type recorder struct {
	mu    sync.Mutex
	ended []string
	open  map[string]int // operations under way
	errs  []error        // StoreErr of what has ended
}

type spanKey struct{}

func (r *recorder) TraceStart(ctx context.Context, op cachify.Operation) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open == nil {
		r.open = map[string]int{}
	}
	r.open[op.Name]++
	parent, _ := ctx.Value(spanKey{}).(string)
	return context.WithValue(ctx, spanKey{}, parent+op.Name+">")
}

func (r *recorder) TraceEnd(ctx context.Context, op cachify.Operation, out cachify.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[op.Name]--
	r.errs = append(r.errs, out.StoreErr)
	s := fmt.Sprintf("%s %s", ctx.Value(spanKey{}), op.Key)
	if out.Status != "" {
		s += " " + out.Status
	}
	if out.Err != nil {
		s += " err"
	}
	if out.StoreErr != nil {
		s += " store err"
	}
	r.ended = append(r.ended, s)
}

// told gives what has ended since it was last asked, sorted, once everything that was begun has ended: a load may end a
// moment after the call that made it.
func (r *recorder) told(t *testing.T) string {
	t.Helper()
	eventually(t, "the end of all operations that were begun", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, n := range r.open {
			if n != 0 {
				return false
			}
		}
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.Sort(r.ended)
	s := strings.Join(r.ended, "; ")
	r.ended = nil
	return s
}

// storeErr gives the errors of what has ended since it was last asked.
func (r *recorder) storeErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := errors.Join(r.errs...)
	r.errs = nil
	return err
}

// tracedClient gives a client with a recorder.
func tracedClient(t *testing.T, store cachify.Store) (*cachify.Client, *recorder) {
	r := new(recorder)
	return newClient(t, store, &cachify.Options{Tracer: r}), r
}

func TestTracerIsToldOfEverything(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c, traced := tracedClient(t, store)
		failure := errors.New("no such row")
		f := newCached(c, func(_ context.Context, n int) (int, error) {
			if n < 0 {
				return 0, failure
			}
			return n, nil
		}, nil)
		batch := f.Batch(func(_ context.Context, ns []int) ([]int, error) { return ns, nil })
		once := newOnce(c, square, nil)
		kept := cachify.Must(cachify.NewOnce(c, "kept-<n>", square, &cachify.OnceOptions{Keep: true}))
		tests := []struct {
			what string
			call func() error
			want string
		}{
			{"a miss", func() error { _, err := f.Get(ctx, 1); return err },
				"Get> cached:f-1 load; Get>Load> cached:f-1"},
			{"a hit", func() error { _, err := f.Get(ctx, 1); return err },
				"Get> cached:f-1 hit"},
			{"an error of the function", func() error { _, err := f.Get(ctx, -1); return err },
				"Get> cached:f--1 load err; Get>Load> cached:f--1 err"},
			{"Refresh", func() error { _, err := f.Refresh(ctx, 1); return err },
				"Refresh> cached:f-1 load; Refresh>Load> cached:f-1"},
			{"Put", func() error { return f.Put(ctx, 1, 2) }, "Put> cached:f-1"},
			{"Peek", func() error { _, _, err := f.Peek(ctx, 1); return err }, "Peek> cached:f-1"},
			{"Reset", func() error { return f.Reset(ctx, 1) }, "Reset> cached:f-1"},
			{"ResetAll", func() error { return f.ResetAll(ctx) }, "ResetAll> "},
			{"GetMany", func() error { _, err := f.GetMany(ctx, []int{3}); return err },
				"GetMany> ; GetMany>Load> cached:f-3"},
			{"GetMany with Batch", func() error { _, err := batch.GetMany(ctx, []int{3, 4, 5}); return err },
				"GetMany> ; GetMany>Load> "},
			{"Do", func() error { _, err := once.Do(ctx, 1); return err }, "Do> once:job-1 ran"},
			{"Do that keeps its lock", func() error { _, err := kept.Do(ctx, 1); return err }, "Do> once:kept-1 ran"},
			{"Do while it is locked", func() error { _, err := kept.Do(ctx, 1); return err }, "Do> once:kept-1 locked err"},
			{"Do with a value to return", func() error { _, err := kept.ReturnOnLocked(1).Do(ctx, 1); return err }, "Do> once:kept-1 locked"},
		}
		for _, test := range tests {
			err := test.call()
			equal(t, test.what, traced.told(t), test.want)
			if (err != nil) != strings.HasSuffix(test.want, "err") {
				t.Errorf("%s: error %v", test.what, err)
			}
		}
	})
}

func TestTracerAndWaiters(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c, traced := tracedClient(t, store)
		p := newPuppet(t)
		f := newCached(c, p.fn, nil)
		leader := async(func() (string, error) { return f.Get(ctx, 1) })
		r := p.next(t)
		waiter := async(func() (string, error) { return f.Get(ctx, 1) })
		eventually(t, "the waiter waits", func() bool { return c.Stats().Waits == 1 })
		r.returns("v")
		gives(t, leader, "v")
		gives(t, waiter, "v")
		told := traced.told(t)
		for _, want := range []string{"Get>Load> cached:f-1", "Get> cached:f-1 load", "Get> cached:f-1 wait"} {
			if !strings.Contains(told, want) {
				t.Errorf("%q is not in %q", want, told)
			}
		}
	})
}

// An operation that ends in a panic has ended too: a span that stays open is lost.
func TestTracerIsToldOfPanics(t *testing.T) {
	c, traced := tracedClient(t, cachify.Memory())
	panics := func(context.Context, float64) (int, error) { panic("no") }
	f, once := newCached(c, panics, nil), newOnce(c, panics, nil)
	batch := f.Batch(func(context.Context, []float64) ([]int, error) { panic("no") })
	for name, call := range map[string]func(ctx context.Context) (any, error){
		"Get":                            func(ctx context.Context) (any, error) { return f.Get(ctx, 1) },
		"Refresh":                        func(ctx context.Context) (any, error) { return f.Refresh(ctx, 1) },
		"GetMany":                        func(ctx context.Context) (any, error) { return f.GetMany(ctx, []float64{1, 2}) },
		"GetMany with Batch":             func(ctx context.Context) (any, error) { return batch.GetMany(ctx, []float64{1, 2}) },
		"Get of arguments without a key": func(ctx context.Context) (any, error) { return f.Get(ctx, math.NaN()) },
		"Do":                             func(ctx context.Context) (any, error) { return once.Do(ctx, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				equal(t, "panic", recover(), any("no"))
				traced.told(t)
			}()
			_, _ = call(t.Context())
		})
	}
}

func TestTracerIsToldWhatTheCallerIsNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		c, traced := tracedClient(t, store)
		f := newCached(c, square, nil)
		once := newOnce(c, square, nil)
		_, err := f.Get(ctx, 0)
		noError(t, err)
		traced.told(t)
		step := func(what string, fault fault, call func() error, want string) {
			t.Helper()
			store.set(fault)
			noError(t, call())
			store.set(nil)
			told, storeErr := traced.told(t), traced.storeErr()
			if told != want || !errors.Is(storeErr, errDown) {
				t.Errorf("%s: told %q and error %v, want %q", what, told, storeErr, want)
			}
		}
		get := func() error { _, err := f.Get(ctx, 1); return err }
		step("a read that fails", failingOnly("Lease"), get, "Get> cached:f-1 bypass store err; Get>Load> cached:f-1")
		step("a write that fails", failingOnly("Set"), get, "Get> cached:f-1 load store err; Get>Load> cached:f-1 store err")
		step("a release that fails", failingOnly("Unlock"), func() error { _, err := once.Do(ctx, 1); return err }, "Do> once:job-1 ran store err")
		step("a read of several that fails", failingOnly("Get"), func() error { _, err := f.GetMany(ctx, []int{7}); return err },
			"GetMany>  store err; GetMany>Load> cached:f-7")
	})
}

func TestArgumentsWithoutAKey(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		var logged logBuffer
		traced := new(recorder)
		c := newClient(t, store, &cachify.Options{Tracer: traced, Logger: logged.logger()})
		calls, nan := 0, math.NaN()
		f := newCached(c, func(context.Context, float64) (int, error) { calls++; return calls, nil }, nil)
		for i := range 3 {
			v, err := f.Get(ctx, nan)
			noError(t, err)
			equal(t, "value", v, 2*i+1)
			equal(t, "told", traced.told(t), "Get>  bypass store err")
			v, err = f.Refresh(ctx, nan)
			noError(t, err)
			equal(t, "value", v, 2*i+2)
			equal(t, "told", traced.told(t), "Refresh>  bypass store err")
		}
		equal(t, "records in the log", logged.count("arguments without a key"), 1)
		equal(t, "bypasses", c.Stats().Bypasses, 6)

		_, err := f.Key(nan)
		wantMessage(t, err, "NaN")
		te := (*cachify.TemplateError)(nil)
		if !errors.As(err, &te) || te.Template != "f-<n>" {
			t.Errorf("%#v is no TemplateError", err)
		}
		wantMessage(t, f.Put(ctx, nan, 1), "NaN")
		wantMessage(t, f.Reset(ctx, nan), "NaN")
		_, _, err = f.Peek(ctx, nan)
		wantMessage(t, err, "NaN")
	})
}

// A stubborn value encodes itself, and fails to.
type stubborn struct{ N int }

var errStubborn = errors.New("it will not be encoded")

func (stubborn) MarshalText() ([]byte, error)  { return nil, errStubborn }
func (*stubborn) UnmarshalText(b []byte) error { return nil }

func TestValuesThatCannotBeEncoded(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		var logged logBuffer
		traced := new(recorder)
		c := newClient(t, store, &cachify.Options{Tracer: traced, Logger: logged.logger()})
		begun, end := make(chan bool, 10), make(chan bool)
		f := newCached(c, func(_ context.Context, n int) (stubborn, error) {
			begun <- true
			<-end
			return stubborn{n}, nil
		}, nil)
		// The leader and those who wait for it: they can't share, and each runs the function for itself.
		calls := []<-chan result[stubborn]{async(func() (stubborn, error) { return f.Get(ctx, 1) })}
		receive(t, "the load", begun)
		for range 3 {
			calls = append(calls, async(func() (stubborn, error) { return f.Get(ctx, 1) }))
		}
		eventually(t, "all wait", func() bool { return c.Stats().Waits == 3 })
		close(end)
		for _, call := range calls {
			gives(t, call, stubborn{1})
		}
		wantError(t, traced.storeErr(), errStubborn)
		traced.told(t)
		v, err := f.Get(ctx, 1)
		noError(t, err)
		equal(t, "value", v, stubborn{1})
		equal(t, "told", traced.told(t), "Get> cached:f-1 load store err; Get>Load> cached:f-1 store err")
		vs, err := f.Batch(func(_ context.Context, ns []int) ([]stubborn, error) { return make([]stubborn, len(ns)), nil }).GetMany(ctx, []int{8, 9})
		noError(t, err)
		equal(t, "values", fmt.Sprint(vs), "[{0} {0}]")

		equal(t, "records in the log", logged.count("can't be encoded"), 1)
		key, err := f.Key(1)
		noError(t, err)
		values, _, err := store.Get(ctx, []string{key}, nil, nil)
		noError(t, err)
		equal(t, "anything in the store", values[0] != nil, false)
	})
}

// A Put that fails leaves no old value behind, whatever the reason.
func TestPutOfAValueThatCannotBeEncoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		c := newClient(t, cachify.Memory(), nil)
		type value struct{ Text any }
		f := newCached(c, func(context.Context, int) (value, error) { return value{"new"}, nil }, nil)
		noError(t, f.Put(ctx, 1, value{"old"}))
		wantMessage(t, f.Put(ctx, 1, value{make(chan int)}), "Put cached:f-1")
		time.Sleep(10 * time.Second)
		v, err := f.Get(ctx, 1)
		noError(t, err)
		equal(t, "value", v, value{"new"})
	})
}

// A panickyTracer panics when it is told of some operation.
type panickyTracer struct{ name, when string }

func (p panickyTracer) TraceStart(ctx context.Context, op cachify.Operation) context.Context {
	if op.Name == p.name && p.when == "start" {
		panic("the tracer")
	}
	return ctx
}

func (p panickyTracer) TraceEnd(_ context.Context, op cachify.Operation, _ cachify.Outcome) {
	if op.Name == p.name && p.when == "end" {
		panic("the tracer")
	}
}

func TestTracerThatPanics(t *testing.T) {
	for _, when := range []string{"start", "end"} {
		t.Run("in a load, at its "+when, func(t *testing.T) {
			var logged logBuffer
			c := newClient(t, cachify.Memory(), &cachify.Options{Tracer: panickyTracer{"Load", when}, Logger: logged.logger()})
			f := newCached(c, square, nil)
			for range 2 {
				v, err := f.Get(t.Context(), 3)
				noError(t, err)
				equal(t, "value", v, 9)
			}
			_, err := f.Batch(func(_ context.Context, ns []int) ([]int, error) { return ns, nil }).GetMany(t.Context(), []int{4, 5})
			noError(t, err)
			equal(t, "loads", c.Stats().Loads, 2)
			eventually(t, "both are logged", func() bool { return logged.count("the tracer panicked") == 2 })
		})
		t.Run("in a Get, at its "+when, func(t *testing.T) {
			c := newClient(t, cachify.Memory(), &cachify.Options{Tracer: panickyTracer{"Get", when}})
			defer func() { equal(t, "panic", recover(), any("the tracer")) }()
			_, _ = newCached(c, square, nil).Get(t.Context(), 3)
		})
	}
}
