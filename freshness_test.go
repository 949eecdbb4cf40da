package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

const freshTTL = time.Minute

// An ageing function counts its runs, and gives the number of the run.
type ageing struct {
	runs  int
	fail  error
	takes time.Duration
}

func (a *ageing) load(ctx context.Context, n int) (int, error) {
	a.runs++
	run := a.runs
	if a.takes > 0 {
		select {
		case <-time.After(a.takes):
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return run, a.fail
}

func inTime(t *testing.T, opts cachify.CachedOptions, test func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int])) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := new(ageing)
		store := cachify.Memory()
		opts.TTL = freshTTL
		here := cachify.Must(cachify.NewCached(newClient(t, store, nil), "n-<n>", a.load, &opts))
		there := cachify.Must(cachify.NewCached(newClient(t, store, nil), "n-<n>", a.load, &opts))
		test(t, a, here, there)
	})
}

// gets calls Get, lets what it started in the background come to its end, and checks the value.
func gets(t *testing.T, f *cachify.Cached[int, int], want int) {
	t.Helper()
	got, err := f.Get(t.Context(), 1)
	noError(t, err)
	synctest.Wait()
	equal(t, "value", got, want)
}

func TestRefreshAhead(t *testing.T) {
	inTime(t, cachify.CachedOptions{RefreshAhead: 0.25}, func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int]) {
		gets(t, f, 1)
		time.Sleep(freshTTL * 74 / 100)
		gets(t, f, 1)
		equal(t, "runs in the first part of the TTL", a.runs, 1)
		time.Sleep(freshTTL * 2 / 100)
		gets(t, f, 1) // at once, and has it refreshed
		gets(t, f, 2)
		gets(t, other, 2)
		equal(t, "runs", a.runs, 2)
		time.Sleep(freshTTL * 99 / 100)
		gets(t, f, 2)
		time.Sleep(freshTTL / 2)
		gets(t, f, 3) // it lives for a whole TTL from the refresh
	})
}

func TestOneOfAllRefreshes(t *testing.T) {
	inTime(t, cachify.CachedOptions{RefreshAhead: 0.5}, func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int]) {
		gets(t, f, 1)
		a.takes = 5 * time.Second // longer than the lease without renewal
		time.Sleep(freshTTL * 3 / 4)
		for range 40 {
			gets(t, f, 1)
			gets(t, other, 1)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		gets(t, other, 2)
		equal(t, "runs", a.runs, 2)
	})
}

func TestMaxStale(t *testing.T) {
	inTime(t, cachify.CachedOptions{MaxStale: freshTTL}, func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int]) {
		gets(t, f, 1)
		time.Sleep(freshTTL - 1)
		gets(t, f, 1)
		equal(t, "runs within the TTL", a.runs, 1)
		time.Sleep(time.Second)
		gets(t, other, 1) // stale, while it is revalidated
		gets(t, f, 2)

		a.fail = errDown // stale if error
		time.Sleep(freshTTL)
		for range 10 {
			gets(t, f, 2)
			time.Sleep(time.Second)
		}
		if a.runs < 5 || a.runs > 9 {
			t.Errorf("%d runs in ten seconds of failures, want one every two seconds at most", a.runs-2)
		}
		time.Sleep(freshTTL)
		_, err := f.Get(t.Context(), 1)
		wantError(t, err, errDown) // MaxStale is over
	})
}

func TestResetEndsAStaleValue(t *testing.T) {
	inTime(t, cachify.CachedOptions{MaxStale: freshTTL}, func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int]) {
		gets(t, f, 1)
		time.Sleep(freshTTL + time.Second)
		a.takes = time.Second
		gets(t, f, 1) // starts a run
		noError(t, other.Reset(t.Context(), 1))
		gets(t, f, 3)
		time.Sleep(2 * time.Second) // the run that the Reset overtook has ended
		gets(t, f, 3)
	})
}

func TestSoftLoadTimeout(t *testing.T) {
	inTime(t, cachify.CachedOptions{MaxStale: freshTTL, SoftLoadTimeout: time.Second}, func(t *testing.T, a *ageing, f, _ *cachify.Cached[int, int]) {
		gets(t, f, 1)
		time.Sleep(freshTTL + 1)
		a.takes = time.Second / 2
		gets(t, f, 2) // soon enough

		time.Sleep(freshTTL + 1)
		a.takes = 3 * time.Second
		start := time.Now()
		gets(t, f, 2)
		equal(t, "waited", time.Since(start), time.Second)
		time.Sleep(3 * time.Second)
		gets(t, f, 3) // the load went on, and was stored

		time.Sleep(freshTTL + 1)
		a.takes, a.fail = time.Second/2, errDown
		gets(t, f, 3)
		equal(t, "runs", a.runs, 4)
	})
}

func TestLoadTimeout(t *testing.T) {
	inTime(t, cachify.CachedOptions{LoadTimeout: 2 * time.Second}, func(t *testing.T, a *ageing, f, other *cachify.Cached[int, int]) {
		a.takes = time.Second
		gets(t, f, 1)
		a.takes = time.Minute
		noError(t, f.Reset(t.Context(), 1))
		start := time.Now()
		for _, g := range []*cachify.Cached[int, int]{f, other} {
			_, err := g.Get(t.Context(), 1)
			wantError(t, err, context.DeadlineExceeded)
		}
		equal(t, "took", time.Since(start), 4*time.Second)
		stuck := make(chan struct{})
		deaf := cachify.Must(cachify.NewCached(newClient(t, cachify.Memory(), nil), "deaf-<n>", func(context.Context, int) (int, error) {
			<-stuck
			return 1, nil
		}, &cachify.CachedOptions{LoadTimeout: time.Second}))
		_, err := deaf.Get(t.Context(), 1) // though its function does not listen to its ctx
		wantError(t, err, context.DeadlineExceeded)
		close(stuck)
	})
}

var (
	errNoRow   = errors.New("no such row")
	errNoTable = errors.New("no such table")
)

func TestNegative(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		runs := 0
		fn := func(ctx context.Context, n int) (string, error) {
			runs++
			switch n {
			case 1:
				return "", fmt.Errorf("select: %w", errNoRow)
			case 2:
				return "", errDown
			}
			return "row", nil
		}
		f := cachify.Must(cachify.NewCached(newClient(t, store, nil), "row-<n>", fn, &cachify.CachedOptions{Negative: []error{errNoTable, errNoRow}}))
		for range 3 {
			_, err := f.Get(t.Context(), 1)
			wantError(t, err, errNoRow)
		}
		equal(t, "runs", runs, 1)
		_, err := f.Get(t.Context(), 1)
		equal(t, "the error", err, errNoRow)
		if v, ok, err := f.Peek(t.Context(), 1); v != "" || ok || err != nil {
			t.Errorf("Peek gave %q, %t, %v", v, ok, err)
		}
		for range 2 {
			_, err := f.Get(t.Context(), 2)
			wantError(t, err, errDown)
		}
		equal(t, "runs with errors that are not listed", runs, 3)

		values, err := f.GetMany(t.Context(), []int{3, 1})
		wantError(t, err, errNoRow)
		equal(t, "value beside the error", values[0], "row")
		equal(t, "runs", runs, 4)

		noError(t, f.Put(t.Context(), 1, "new"))
		v, err := f.Get(t.Context(), 1)
		noError(t, err)
		equal(t, "value after Put", v, "new")

		noError(t, f.Reset(t.Context(), 1))
		_, err = f.Refresh(t.Context(), 1)
		wantError(t, err, errNoRow)

		// A list without the error: what is remembered is of no use, and a miss.
		g := cachify.Must(cachify.NewCached(newClient(t, store, nil), "row-<n>", fn, nil))
		before := runs
		_, err = g.Get(t.Context(), 1)
		wantError(t, err, errNoRow)
		equal(t, "runs", runs, before+1)
	})
}

func TestNegativeTTL(t *testing.T) {
	inTime(t, cachify.CachedOptions{Negative: []error{errDown}, NegativeTTL: time.Second, MaxStale: time.Hour}, func(t *testing.T, a *ageing, f, _ *cachify.Cached[int, int]) {
		a.fail = errDown
		for range 4 {
			_, err := f.Get(t.Context(), 1)
			wantError(t, err, errDown)
			time.Sleep(time.Second / 2)
		}
		equal(t, "runs in two seconds", a.runs, 2)
	})
}

func TestTouchOnHit(t *testing.T) {
	inTime(t, cachify.CachedOptions{TouchOnHit: true}, func(t *testing.T, a *ageing, f, _ *cachify.Cached[int, int]) {
		gets(t, f, 1)
		for range 10 {
			time.Sleep(freshTTL * 3 / 4)
			gets(t, f, 1)
		}
		time.Sleep(freshTTL + time.Second)
		gets(t, f, 2)
	})
}

// A touch gives an entry the time to live again that it was stored with, whatever Jitter and SetTTL have made of the wrapper's.
func TestTouchNeverShortens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := cachify.Memory()
		c := newClient(t, memory, nil)
		runs := 0
		f := cachify.Must(cachify.NewCached(c, "n-<n>", func(ctx context.Context, n int) (int, error) {
			runs++
			if n < 0 {
				cachify.SetTTL(ctx, cachify.NoExpiry)
			} else if n > 0 {
				cachify.SetTTL(ctx, time.Duration(n)*freshTTL)
			}
			return n, nil
		}, &cachify.CachedOptions{TTL: freshTTL, Jitter: 0.9, TouchOnHit: true}))
		left := func(n int) time.Duration {
			key, err := f.Key(n)
			noError(t, err)
			all := make([]time.Duration, 1)
			_, _, err = memory.Get(t.Context(), []string{key}, nil, all)
			noError(t, err)
			return all[0]
		}
		for _, n := range []int{0, 100, 5, -1} {
			_, err := f.Get(t.Context(), n)
			noError(t, err)
			first := left(n)
			for range 50 {
				time.Sleep(max(first/8, time.Millisecond)) // more than the part of it in which it is touched once
				before := left(n)
				_, err := f.Get(t.Context(), n)
				noError(t, err)
				synctest.Wait()
				if after := left(n); after < before || after != first {
					t.Fatalf("a touch of %d made %v out of %v, want %v", n, after, before, first)
				}
			}
		}
		equal(t, "runs", runs, 4)
	})
}

func TestStoreInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &faultyStore{Store: cachify.Memory()}
		c := newClient(t, store, &cachify.Options{OpTimeout: time.Second})
		a := new(ageing)
		f := cachify.Must(cachify.NewCached(c, "n-<n>", a.load, &cachify.CachedOptions{StoreInBackground: true}))
		noError(t, f.Put(t.Context(), 2, 2)) // begins the prefix's stamp
		slow := make(chan struct{})
		store.set(func(ctx context.Context, op string, do func() error) error {
			if op == "Set" {
				<-slow
			}
			return do()
		})
		start := time.Now()
		gets(t, f, 1)
		equal(t, "the first caller waited for", time.Since(start), 0)
		late := async(func() (int, error) { return f.Get(t.Context(), 1) })
		synctest.Wait()
		equal(t, "runs while it is being stored", a.runs, 1)
		close(slow)
		equal(t, "value", (<-late).value, 1)
		gets(t, f, 1)
	})
}

func TestMaxBytes(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		var logged logBuffer
		c := newClient(t, store, &cachify.Options{Logger: logged.logger()})
		runs := 0
		f := cachify.Must(cachify.NewCached(c, "text-<n>", func(_ context.Context, n int) (string, error) {
			runs++
			return string(make([]byte, n)), nil
		}, &cachify.CachedOptions{MaxBytes: 200}))
		for range 2 {
			for _, n := range []int{10, 1000} {
				v, err := f.Get(t.Context(), n)
				noError(t, err)
				equal(t, "length", len(v), n)
			}
		}
		equal(t, "runs", runs, 3)
		equal(t, "records", logged.count("too long"), 1)
		wantMessage(t, f.Put(t.Context(), 1, string(make([]byte, 1000))), "MaxBytes")
	})
}

func TestFreshnessOptionErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	for message, opts := range map[string]cachify.CachedOptions{
		"RefreshAhead needs a TTL that ends": {TTL: cachify.NoExpiry, RefreshAhead: 0.5},
		"MaxStale needs a TTL that ends":     {TTL: cachify.NoExpiry, MaxStale: time.Second},
		"TouchOnHit needs a TTL that ends":   {TTL: cachify.NoExpiry, TouchOnHit: true},
		"RefreshAhead is 1":                  {RefreshAhead: 1},
		"RefreshAhead is -0.1":               {RefreshAhead: -0.1},
		"MaxStale is -1s":                    {MaxStale: -time.Second},
		"LoadTimeout is -1s":                 {LoadTimeout: -time.Second},
		"none without MaxStale":              {SoftLoadTimeout: time.Second},
		"must be shorter than LoadTimeout":   {MaxStale: time.Hour, SoftLoadTimeout: time.Second, LoadTimeout: time.Second},
		"keeps an entry from ageing":         {TouchOnHit: true, MaxStale: time.Second},
		"Negative lists no errors":           {NegativeTTL: time.Second},
		"Negative[1] is nil":                 {Negative: []error{errDown, nil}},
		"two errors of the text":             {Negative: []error{errDown, errors.New(errDown.Error())}},
		"MaxBytes is -1":                     {MaxBytes: -1},
	} {
		_, err := cachify.NewCached(c, "n-<n>", new(ageing).load, &opts)
		wantMessage(t, err, message)
	}
}
