//go:build unix

package peers

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// A contender is a library that is warm: all keys are there.
type contender[V any] struct {
	name  string
	cache *cache[V]
	loads *atomic.Int64
}

func (b *bench) hits(t *testing.T) {
	hitsOf(t, b, "hit", "200 B", inRedis, []int{1, 64, 256}, newSmall)
	hitsOf(t, b, "hit", "10 KB", inRedis, []int{1, 64, 256}, newBig)
}

func (b *bench) nearHits(t *testing.T) {
	hitsOf(t, b, "near shared", "200 B", nearShared, []int{1, 8}, newSmall)
	hitsOf(t, b, "near decoded", "200 B", nearDecoded, []int{1, 8}, newSmall)
	hitsOf(t, b, "near decoded", "10 KB", nearDecoded, []int{1, 8}, newBig)
}

func hitsOf[V any](t *testing.T, b *bench, work, size string, lv level, goroutines []int, value func(int64) V) {
	t.Run(work+", "+size, func(t *testing.T) { // whose end closes them
		measureHits(t, b, work, size, warm(t, b, lv, value), goroutines)
	})
}

func measureHits[V any](t *testing.T, b *bench, work, size string, contenders []contender[V], goroutines []int) {
	for _, n := range goroutines {
		kase := fmt.Sprintf("%s, %d goroutines", size, n)
		if n == 1 {
			kase = size + ", 1 goroutine"
		}
		rounds, slice := b.turns(n)
		for range rounds {
			for _, c := range contenders {
				b.run.Add(work, kase, "ns", c.name, perCall(t, n, slice, func(ctx context.Context, i int) error {
					_, err := c.cache.get(ctx, user(int64(i%b.keys)))
					return err
				}))
			}
		}
		for _, c := range contenders {
			if n == 1 {
				b.run.Add(work, kase, "allocs", c.name, testing.AllocsPerRun(200, func() {
					if _, err := c.cache.get(t.Context(), user(1)); err != nil {
						t.Error(err)
					}
				}))
			}
		}
	}
	noLoads(t, b, contenders)
}

// turns has a lone caller's libraries take more and shorter turns: it suffers most from what else the machine does.
func (b *bench) turns(goroutines int) (rounds int, slice time.Duration) {
	if goroutines > 1 {
		return b.rounds, b.slice
	}
	return b.rounds * b.split, b.slice / time.Duration(b.split)
}

// warm opens all that have the level, and asks each of them for all keys until no call of it runs the function or, at a near level,
// asks Redis. The server is emptied first: most libraries take any bytes under their key for a value of their own.
func warm[V any](t *testing.T, b *bench, lv level, value func(int64) V) (contenders []contender[V]) {
	b.server.Flush()
	for _, p := range peers[V]() {
		loads := new(atomic.Int64)
		c := p.open(t, b.server.Addr(), lv, func(_ context.Context, a args) (V, error) {
			loads.Add(1)
			return value(a.UserID), nil
		})
		if c == nil {
			continue
		}
		pass := func() {
			for i := range int64(b.keys) {
				v, err := c.get(t.Context(), user(i))
				if err != nil || i%16 == 0 && !same(v, value(user(i).UserID)) {
					t.Fatalf("%s: %v, %v", p.name, v, err)
				}
			}
			if c.settle != nil {
				c.settle()
			}
		}
		eventually(t, p.name+" is not warm", func() bool {
			loads.Store(0)
			before := b.commands()
			pass()
			return loads.Load() == 0 && (lv == inRedis || b.commands()-before < b.keys/10)
		})
		contenders = append(contenders, contender[V]{p.name, c, loads})
	}
	return contenders
}

// same compares encodings, in which a time has no location.
func same[V any](v, want V) bool {
	got, err1 := msgpack.Marshal(&v)
	wanted, err2 := msgpack.Marshal(&want)
	return err1 == nil && err2 == nil && bytes.Equal(got, wanted)
}

// commands is how many commands the server has run.
func (b *bench) commands() (n int) {
	for _, calls := range b.server.Calls() {
		n += calls
	}
	return n
}

// noLoads fails the test if what was measured as hits were none. A busy machine may have a few calls time out.
func noLoads[V any](t *testing.T, b *bench, contenders []contender[V]) {
	for _, c := range contenders {
		if n := c.loads.Load(); b.strict && n > int64(b.keys/4) {
			t.Errorf("%s ran the function %d times", c.name, n)
		}
	}
}

// perCall gives the time of a call in nanoseconds, over all goroutines: what passed, divided by the calls that were done. No i is given
// twice, and their remainders by a multiple of goroutines are each goroutine's own: where two ask for one key, a library with
// single-flight soon has all of them in step, and one GET serves them all.
func perCall(t *testing.T, goroutines int, d time.Duration, call func(ctx context.Context, i int) error) float64 {
	var stop atomic.Bool
	var calls atomic.Int64
	var wg sync.WaitGroup
	ctx := t.Context()
	start := time.Now()
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	for g := range goroutines {
		wg.Go(func() {
			n := 0
			for ; n == 0 || !stop.Load(); n++ {
				if err := call(ctx, g+n*goroutines); err != nil {
					t.Error(err)
					return
				}
			}
			calls.Add(int64(n))
		})
	}
	wg.Wait()
	return float64(time.Since(start)) / float64(max(calls.Load(), 1))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}
