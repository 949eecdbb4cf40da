package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/go-cachify/cachify"
)

// failedAt gives the indices of the arguments that failed.
func failedAt(t *testing.T, err error) (indices []int) {
	t.Helper()
	batch, ok := errors.AsType[*cachify.BatchError](err)
	if !ok {
		t.Fatalf("error %v, want a BatchError", err)
	}
	for i, err := range batch.Errs {
		if err != nil {
			indices = append(indices, i)
		}
	}
	return indices
}

func TestBatchErrorText(t *testing.T) {
	a, b := errors.New("cachify: GetMany cached:f-1: no such row"), errors.New("b")
	for _, test := range []struct {
		errs []error
		want string
	}{
		{[]error{nil, a, nil}, "cachify: 1 of 3 arguments failed: GetMany cached:f-1: no such row"},
		{[]error{a, b, a}, "cachify: 3 of 3 arguments failed: GetMany cached:f-1: no such row; b"},
		{[]error{b, errors.New("c"), errors.New("d"), b, c(), c()}, "cachify: 6 of 6 arguments failed: b; c; d; and more"},
		{make([]error, 2), "cachify: 0 of 2 arguments failed: "},
	} {
		err := &cachify.BatchError{Errs: test.errs}
		equal(t, "text", err.Error(), test.want)
		if slices.Contains(err.Unwrap(), nil) {
			t.Errorf("%v has a nil among its errors", err)
		}
	}
	wantError(t, &cachify.BatchError{Errs: []error{nil, fmt.Errorf("a: %w", a), b}}, a)
}

func c() error { return errors.New("a fifth one") }

// What the batch function says about each argument: these fail, the others are stored and given out.
func TestBatchFunctionFailsInPart(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		odd := errors.New("odd")
		client := newClient(t, store, nil)
		var batches [][]int
		f := newCached(client, func(_ context.Context, n int) (string, error) { return "", errors.New("one by one") },
			&cachify.CachedOptions{Negative: []error{errNoRow}}).
			Batch(func(_ context.Context, ns []int) ([]string, error) {
				batches = append(batches, ns)
				values, errs := make([]string, len(ns)), make([]error, len(ns))
				for i, n := range ns {
					values[i] = fmt.Sprint("v", n)
					switch {
					case n == 5:
						errs[i] = fmt.Errorf("select: %w", errNoRow)
					case n%2 == 1:
						errs[i] = odd
					}
				}
				return values, fmt.Errorf("some: %w", &cachify.BatchError{Errs: errs})
			})
		values, err := f.GetMany(ctx, []int{2, 1, 4, 1, 3, 5})
		equal(t, "values", strings.Join(values, ","), "v2,,v4,,,")
		equal(t, "failed", fmt.Sprint(failedAt(t, err)), "[1 3 4 5]")
		wantError(t, err, odd)
		wantError(t, err, errNoRow)
		wantMessage(t, err, "4 of 6 arguments failed: GetMany cached:f-1: odd; GetMany cached:f-3: odd; GetMany cached:f-5: select")
		equal(t, "misses and loads", [2]int64{client.Stats().Misses, client.Stats().Loads}, [2]int64{5, 1})

		values, err = f.GetMany(ctx, []int{4, 2, 5, 1})
		equal(t, "values", strings.Join(values, ","), "v4,v2,,")
		equal(t, "failed", fmt.Sprint(failedAt(t, err)), "[2 3]")
		equal(t, "batches: what succeeded is stored, what does not exist is remembered, and no lease is left", fmt.Sprint(batches), "[[2 1 4 3 5] [1]]")
		values, err = f.GetMany(ctx, []int{2, 4})
		noError(t, err)
		equal(t, "values", strings.Join(values, ","), "v2,v4")
	})
}

// Those who wait for a batch get the value or the error of their key.
func TestWaitersOfABatchThatFailsInPart(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		odd := errors.New("odd")
		begun, end := make(chan bool), make(chan bool)
		batched := p.hereCached.Batch(func(_ context.Context, ns []int) ([]string, error) {
			begun <- true
			<-end
			return []string{"", "two"}, &cachify.BatchError{Errs: []error{odd, nil}}
		})
		many := async(func() (string, error) {
			vs, err := batched.GetMany(ctx, []int{1, 2})
			return strings.Join(vs, ","), err
		})
		receive(t, "the batch", begun)
		one := p.get(ctx)
		two := async(func() (string, error) { return p.hereCached.Get(ctx, 2) })
		p.waiting(t, 2, 0)
		close(end)
		r := receive(t, "GetMany", many)
		equal(t, "values", r.value, ",two")
		equal(t, "failed", fmt.Sprint(failedAt(t, r.err)), "[0]")
		wantError(t, receive(t, "the waiter for 1", one).err, odd)
		gives(t, two, "two")
	})
}

// An error for all that is not to be told apart fails all, and so does a BatchError that does not fit.
func TestBatchFunctionFailsAsAWhole(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		cause := errors.New("cause")
		for what, test := range map[string]struct {
			values []int
			err    error
			failed string
			text   string
		}{
			"too few errors":        {[]int{1, 2}, &cachify.BatchError{Errs: []error{cause}}, "[0 1]", "1 errors for 2 arguments"},
			"too many errors":       {[]int{1, 2}, &cachify.BatchError{Errs: []error{cause, cause, cause}}, "[0 1]", "3 errors for 2 arguments"},
			"too few values":        {[]int{1}, &cachify.BatchError{Errs: []error{cause, nil}}, "[0 1]", "1 values for 2 arguments"},
			"one error for all":     {nil, errNoRow, "[0 1]", "no such row"},
			"a BatchError of none":  {[]int{1, 2}, &cachify.BatchError{Errs: make([]error, 2)}, "", ""},
			"a BatchError of all":   {[]int{1, 2}, &cachify.BatchError{Errs: []error{cause, cause}}, "[0 1]", "2 of 2"},
			"one of a nested batch": {[]int{0, 2}, &cachify.BatchError{Errs: []error{&cachify.BatchError{Errs: []error{cause}}, nil}}, "[0]", "1 of 1 arguments failed: cause"},
		} {
			t.Run(what, func(t *testing.T) {
				client := newClient(t, store, &cachify.Options{Prefix: what})
				f := newCached(client, square, &cachify.CachedOptions{Negative: []error{errNoRow}}).Batch(func(context.Context, []int) ([]int, error) { return test.values, test.err })
				values, err := f.GetMany(ctx, []int{1, 2})
				if test.failed == "" {
					noError(t, err)
					equal(t, "values", fmt.Sprint(values), "[1 2]")
					return
				}
				equal(t, "failed", fmt.Sprint(failedAt(t, err)), test.failed)
				wantMessage(t, err, test.text)
				v, err := f.Get(ctx, 1) // nothing is remembered
				noError(t, err)
				equal(t, "value", v, 1)
			})
		}
	})
}

// A function of one argument may return the BatchError of a call of its own. It is an error like any other.
func TestBatchErrorOfOneRun(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		leader := p.get(ctx)
		r := p.next(t)
		waiter := p.get(ctx)
		p.waiting(t, 1, 0)
		cause := errors.New("inner")
		r.fails(&cachify.BatchError{Errs: []error{nil, cause}})
		wantError(t, receive(t, "the leader", leader).err, cause)
		wantError(t, receive(t, "the waiter", waiter).err, cause)
	})
}

// In an outage the batch function says what failed as well.
func TestBatchFailsInPartInAnOutage(t *testing.T) {
	store := &faultyStore{Store: cachify.Memory()}
	store.set(failing)
	f := newCached(newClient(t, store, nil), square, nil).Batch(func(_ context.Context, ns []int) ([]int, error) {
		return ns, &cachify.BatchError{Errs: []error{nil, errNoRow, nil}}
	})
	for range 5 { // until the breaker is open, and after
		values, err := f.GetMany(t.Context(), []int{1, 2, 3})
		equal(t, "values", fmt.Sprint(values), "[1 0 3]")
		equal(t, "failed", fmt.Sprint(failedAt(t, err)), "[1]")
		if errors.Is(err, errDown) {
			t.Error("the caller sees the store's error")
		}
	}
}

// One value that can't be stored does not keep the others of its batch from it.
func TestBatchIsStoredInPart(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		client, traced := tracedClient(t, store)
		f := newCached(client, func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }, &cachify.CachedOptions{MaxBytes: 200})
		batched := f.Batch(func(_ context.Context, ns []int) ([]string, error) {
			values := make([]string, len(ns))
			for i, n := range ns {
				values[i] = strings.Repeat("x", n)
			}
			return values, nil
		})
		values, err := batched.GetMany(ctx, []int{10, 1000, 20})
		noError(t, err)
		equal(t, "length of the long one", len(values[1]), 1000)
		traced.told(t)
		wantMessage(t, traced.storeErr(), "MaxBytes")
		for n, want := range map[int]bool{10: true, 1000: false, 20: true} {
			_, ok, err := f.Peek(ctx, n)
			noError(t, err)
			equal(t, fmt.Sprint("stored: ", n), ok, want)
		}
		before := client.Stats().Waits
		_, err = f.Get(ctx, 1000) // its lease is free
		noError(t, err)
		equal(t, "waits", client.Stats().Waits, before)

		putErr := f.PutMany(ctx, []int{1, 2, 3}, []string{"a", strings.Repeat("b", 1000), "c"})
		equal(t, "failed", fmt.Sprint(failedAt(t, putErr)), "[1]")
		wantMessage(t, putErr, "PutMany cached:f-2: ")
		for n, want := range map[int]bool{1: true, 3: true} {
			_, ok, err := f.Peek(ctx, n)
			noError(t, err)
			equal(t, fmt.Sprint("put: ", n), ok, want)
		}
	})
}

func TestWritesOfManySayWhatFailed(t *testing.T) {
	store := &faultyStore{Store: cachify.Memory()}
	f := cachify.Must(cachify.NewCached(newClient(t, store, nil), "f-<n>", func(_ context.Context, n float64) (int, error) { return 0, nil }, nil))
	args := []float64{1, math.NaN(), 2, math.NaN()}
	for name, write := range map[string]func() error{
		"ResetMany": func() error { return f.ResetMany(t.Context(), args) },
		"PutMany":   func() error { return f.PutMany(t.Context(), args, make([]int, 4)) },
	} {
		store.set(nil)
		err := write()
		equal(t, name, fmt.Sprint(failedAt(t, err)), "[1 3]")
		wantMessage(t, err, name+" argument 1: ")
		wantMessage(t, err, name+" argument 3: ")
		store.set(failing)
		err = write()
		equal(t, name+" in an outage", fmt.Sprint(failedAt(t, err)), "[0 1 2 3]")
		wantMessage(t, err, name+" cached:f-1: ")
		wantError(t, err, errDown)
		store.set(nil)
	}
}

func TestWarmSaysWhatFailed(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := newCached(newClient(t, cachify.Memory(), nil), func(_ context.Context, n int) (int, error) {
		if n == 3 {
			return 0, errNoRow
		}
		return n, nil
	}, nil)
	args := []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	opts := &cachify.WarmOptions{Batch: 2, Concurrency: 1, Progress: func(done, _ int) {
		if done == 6 {
			cancel()
		}
	}}
	err := f.Warm(ctx, args, opts)
	failed := failedAt(t, err)
	if len(failed) < 3 || !slices.Equal(failed, append([]int{3}, args[10-len(failed)+1:]...)) || failed[1] < 6 {
		t.Errorf("failed: %v, want 3 and the last ones", failed)
	}
	wantError(t, err, errNoRow)
	wantError(t, err, context.Canceled)
	equal(t, "failed", fmt.Sprint(failedAt(t, f.Warm(t.Context(), args, &cachify.WarmOptions{Batch: 3}))), "[3]")
	noError(t, f.Warm(t.Context(), []int{1, 2}, nil))

	panics := newCached(newClient(t, cachify.Memory(), nil), func(_ context.Context, n int) (int, error) { panic(errNoRow) }, nil)
	defer func() { equal(t, "panic", recover(), any(errNoRow)) }()
	_ = panics.Warm(t.Context(), args, opts)
}
