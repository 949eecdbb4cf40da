package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// A counted function notes the arguments of its runs.
type counted struct {
	mu      sync.Mutex
	args    []int
	batches [][]int
	fail    error // for negative arguments
}

func (c *counted) fn(_ context.Context, n int) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.args = append(c.args, n)
	if n < 0 {
		return "", c.fail
	}
	return fmt.Sprint("v", n), nil
}

func (c *counted) batch(_ context.Context, ns []int) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches = append(c.batches, slices.Clone(ns))
	vs := make([]string, len(ns))
	for i, n := range ns {
		if n < 0 {
			return nil, c.fail
		}
		vs[i] = fmt.Sprint("b", n)
	}
	return vs, nil
}

// seen gives the arguments of the runs so far, and those of each batch, sorted, and forgets them.
func (c *counted) seen() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.args)
	for _, batch := range c.batches {
		slices.Sort(batch)
	}
	s := fmt.Sprint(c.args, c.batches)
	c.args, c.batches = nil, nil
	return s
}

func TestGetMany(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		var fn counted
		f := newCached(c, fn.fn, nil)
		many := func(args []int, want, wantRuns string) {
			t.Helper()
			vs, err := f.GetMany(ctx, args)
			noError(t, err)
			equal(t, "values", strings.Join(vs, " "), want)
			equal(t, "runs", fn.seen(), wantRuns)
		}
		many(nil, "", "[] []")
		many([]int{}, "", "[] []")
		many([]int{3, 1, 3, 2, 1, 3}, "v3 v1 v3 v2 v1 v3", "[1 2 3] []")
		many([]int{2, 2, 4, 1}, "v2 v2 v4 v1", "[4] []")
		noError(t, f.Reset(ctx, 2))
		many([]int{1, 2, 3}, "v1 v2 v3", "[2] []")
		noError(t, f.ResetAll(ctx))
		many([]int{1, 2, 3}, "v1 v2 v3", "[1 2 3] []")

		var args []int
		for i := range 200 {
			args = append(args, 1000-i)
		}
		vs, err := f.GetMany(ctx, args)
		noError(t, err)
		for i, n := range args {
			equal(t, "value", vs[i], fmt.Sprint("v", n))
		}
	})
}

func TestBatch(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		var fn counted
		plain := newCached(c, fn.fn, nil)
		f := plain.Batch(fn.batch)
		many := func(args []int, want, wantRuns string) {
			t.Helper()
			vs, err := f.GetMany(ctx, args)
			noError(t, err)
			equal(t, "values", strings.Join(vs, " "), want)
			equal(t, "runs", fn.seen(), wantRuns)
		}
		many(nil, "", "[] []")
		many([]int{3, 1, 3, 2, 1}, "b3 b1 b3 b2 b1", "[] [[1 2 3]]")
		many([]int{1, 2, 3}, "b1 b2 b3", "[] []")
		many([]int{4, 1, 5}, "b4 b1 b5", "[] [[4 5]]")
		noError(t, f.ResetAll(ctx))
		many([]int{1, 2, 3, 9}, "b1 b2 b3 b9", "[] [[1 2 3 9]]")
		noError(t, plain.Reset(ctx, 2)) // entries are shared
		many([]int{1, 2}, "b1 b2", "[] [[2]]")
		_, err := plain.GetMany(ctx, []int{1, 7})
		noError(t, err)
		equal(t, "runs", fn.seen(), "[7] []")
		many([]int{7, 8}, "v7 b8", "[] [[8]]")
		_, err = f.Get(ctx, 11)
		noError(t, err)
		equal(t, "runs", fn.seen(), "[11] []")
	})
}

func TestGetManyErrorsNameTheirKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		fn := counted{fail: errors.New("no such row")}
		f := newCached(newClient(t, store, nil), fn.fn, nil)
		vs, err := f.GetMany(ctx, []int{1, -2, 3, -4, -2})
		equal(t, "values", strings.Join(vs, ","), "v1,,v3,,")
		wantError(t, err, fn.fail)
		wantMessage(t, err, "cached:f--2:")
		wantMessage(t, err, "cached:f--4:")
		if strings.Contains(err.Error(), "f-1") || strings.Count(err.Error(), "no such row") != 2 {
			t.Errorf("error %v", err)
		}
		equal(t, "runs", fn.seen(), "[-4 -2 1 3] []")
		_, err = f.GetMany(ctx, []int{1, 3})
		noError(t, err)
		equal(t, "runs", fn.seen(), "[] []")

		vs, err = f.Batch(fn.batch).GetMany(ctx, []int{1, 5, -6})
		equal(t, "values", strings.Join(vs, ","), "v1,,")
		wantError(t, err, fn.fail)
		wantMessage(t, err, "cached:f-5:")
		wantMessage(t, err, "cached:f--6:")
		equal(t, "runs", fn.seen(), "[] [[-6 5]]")
		vs, err = f.Batch(fn.batch).GetMany(ctx, []int{5}) // the leases are free again
		noError(t, err)
		equal(t, "values", vs[0], "b5")
	})
}

func TestBatchOfTheWrongLength(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, length := range []int{0, 2, 4} {
			ctx := t.Context()
			f := newCached(newClient(t, store, nil), square, nil)
			vs, err := f.Batch(func(context.Context, []int) ([]int, error) { return make([]int, length), nil }).GetMany(ctx, []int{1, 2, 3})
			wantMessage(t, err, fmt.Sprintf("%d values for 3 arguments", length))
			equal(t, "values", fmt.Sprint(vs), "[0 0 0]")
			for n := range 3 {
				_, ok, err := f.Peek(ctx, n+1)
				noError(t, err)
				equal(t, "stored", ok, false)
			}
		}
	})
}

// The panic is the caller's, not that of one of GetMany's own goroutines, which would end the process.
func TestPanicInGetMany(t *testing.T) {
	crashes := map[string]func(){
		"panic":  func() { panic(http.ErrAbortHandler) },
		"Goexit": runtime.Goexit,
	}
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for name, crash := range crashes {
			fn := func(_ context.Context, n int) (int, error) {
				if n == 2 {
					crash()
				}
				return n, nil
			}
			batch := func(_ context.Context, ns []int) ([]int, error) { crash(); return ns, nil }
			down := &faultyStore{Store: store}
			down.set(failing)
			for how, c := range map[string]*cachify.Client{"": newClient(t, store, nil), " in an outage": newClient(t, down, nil)} {
				plain := newCached(c, fn, nil)
				for what, f := range map[string]*cachify.Cached[int, int]{"function": plain, "batch": plain.Batch(batch)} {
					t.Run(name+" of the "+what+how, func(t *testing.T) {
						end := make(chan any, 1) // what was recovered, or whether GetMany returned
						go func() {
							returned := false
							defer func() {
								if value := recover(); value != nil {
									end <- value
								} else {
									end <- returned
								}
							}()
							_, _ = f.GetMany(t.Context(), []int{1, 2, 3})
							returned = true
						}()
						want := any(http.ErrAbortHandler)
						if name == "Goexit" {
							want = false
						}
						equal(t, "end", receive(t, "the end of GetMany", end), want)
						if what == "function" && how == "" {
							_, ok, err := f.Peek(t.Context(), 3)
							noError(t, err)
							equal(t, "the others are stored", ok, true)
						}
						if how == "" {
							noError(t, f.ResetAll(t.Context()))
						}
					})
				}
			}
		}
	})
}

func TestGetManyWithACancelledContext(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var fn counted
		f := newCached(newClient(t, store, nil), fn.fn, nil)
		for _, f := range []*cachify.Cached[int, string]{f, f.Batch(fn.batch)} {
			_, err := f.GetMany(ctx, []int{1, 2})
			wantError(t, err, context.Canceled)
		}
		equal(t, "runs", fn.seen(), "[] []")
	})
}

func TestGetManyLeavesWithItsContext(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx, cancel := context.WithCancel(t.Context())
		p := newPuppet(t)
		f := newCached(newClient(t, store, nil), p.fn, nil)
		stuck, end := make(chan context.Context, 1), make(chan bool)
		batched := f.Batch(func(ctx context.Context, ns []int) ([]string, error) {
			stuck <- ctx
			<-end
			return make([]string, len(ns)), nil
		})
		many := func(f *cachify.Cached[int, string], n int) <-chan result[string] {
			return async(func() (string, error) { _, err := f.GetMany(ctx, []int{n}); return "", err })
		}
		plainCall, batchCall := many(f, 1), many(batched, 2)
		r, inBatch := p.next(t), receive(t, "the batch", stuck)
		cancel()
		wantError(t, receive(t, "GetMany", plainCall).err, context.Canceled)
		wantError(t, receive(t, "GetMany with Batch", batchCall).err, context.Canceled)
		receive(t, "the end of the load's ctx", r.ctx.Done())
		receive(t, "the end of the batch's ctx", inBatch.Done())
		close(end)
		r.returns("late")
	})
}

func TestGetManyWaitsForLoadsOfOthers(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPair(t, store, nil)
		var fn counted
		leader := p.get(ctx)
		r := p.next(t)
		many := async(func() (string, error) {
			vs, err := p.thereCached.Batch(fn.batch).GetMany(ctx, []int{1, 2, 3})
			return strings.Join(vs, " "), err
		})
		p.waiting(t, 0, 1)
		r.returns("loaded")
		gives(t, leader, "loaded")
		gives(t, many, "loaded b2 b3")
		equal(t, "runs", fn.seen(), "[] [[2 3]]")

		// And the other way round: a Get waits for a batch, and gets its own value out of it.
		noError(t, p.hereCached.ResetAll(ctx))
		begun, end := make(chan bool), make(chan bool)
		batched := p.hereCached.Batch(func(_ context.Context, ns []int) ([]string, error) {
			begun <- true
			<-end
			return []string{"one", "two", "three"}[:len(ns)], nil
		})
		many = async(func() (string, error) {
			vs, err := batched.GetMany(ctx, []int{3, 1, 2})
			return strings.Join(vs, " "), err
		})
		receive(t, "the batch", begun)
		here, there := p.get(ctx), p.getThere(ctx)
		p.waiting(t, 1, 2)
		close(end)
		gives(t, many, "one two three")
		gives(t, here, "two")
		gives(t, there, "two")
	})
}

func TestGetManyInAnOutage(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		faulty := &faultyStore{Store: store}
		c := newClient(t, faulty, nil)
		fn := counted{fail: errors.New("no such row")}
		f := newCached(c, fn.fn, nil)
		_, err := f.GetMany(ctx, []int{1})
		noError(t, err)
		fn.seen()
		faulty.set(failing)
		for range 3 { // before the breaker has opened, and after
			vs, err := f.GetMany(ctx, []int{1, 2, 1})
			noError(t, err)
			equal(t, "values", strings.Join(vs, " "), "v1 v2 v1")
			equal(t, "runs", fn.seen(), "[1 2] []")
			vs, err = f.Batch(fn.batch).GetMany(ctx, []int{1, 2, 1})
			noError(t, err)
			equal(t, "values", strings.Join(vs, " "), "b1 b2 b1")
			equal(t, "runs", fn.seen(), "[] [[1 2]]")
			_, err = f.GetMany(ctx, []int{-1, 1})
			wantError(t, err, fn.fail)
			if errors.Is(err, errDown) {
				t.Error("the caller sees the store's error")
			}
			fn.seen()
		}
		equal(t, "breaker open", c.Stats().BreakerOpen, true)
	})
}

func TestGetManyInAnOutageTakesOneTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		for _, batch := range []bool{false, true} {
			store := &faultyStore{Store: cachify.Memory()}
			store.set(hanging)
			c := newClient(t, store, &cachify.Options{OpTimeout: time.Second})
			f := newCached(c, square, nil)
			if batch {
				f = f.Batch(func(_ context.Context, ns []int) ([]int, error) { return ns, nil })
			}
			for range 5 { // until the breaker opens, and after
				start := time.Now()
				_, err := f.GetMany(ctx, []int{1, 2, 3})
				noError(t, err)
				if took := time.Since(start); took > time.Second {
					t.Errorf("GetMany took %v, with Batch %v", took, batch)
				}
			}
		}
	})
}

func TestGetManyOfArgumentsWithoutAKey(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		c := newClient(t, store, nil)
		f := newCached(c, func(_ context.Context, x float64) (string, error) {
			return fmt.Sprint(x), nil
		}, nil)
		batched := f.Batch(func(_ context.Context, xs []float64) ([]string, error) { return []string{"batch"}[:len(xs)], nil })
		for range 2 {
			vs, err := f.GetMany(ctx, []float64{math.NaN(), 1, math.NaN()})
			noError(t, err)
			equal(t, "values", strings.Join(vs, " "), "NaN 1 NaN")
		}
		vs, err := batched.GetMany(ctx, []float64{math.NaN(), 2})
		noError(t, err)
		equal(t, "values", strings.Join(vs, " "), "NaN batch")
		equal(t, "bypasses", c.Stats().Bypasses, 5)
	})
}
