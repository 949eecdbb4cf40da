package history

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-cachify/cachify"
)

// A Run lets goroutines call the wrappers of some clients at random.
type Run struct {
	Source     Source
	Clients    []*cachify.Client
	Goroutines int           // for each client
	Operations int64         // for all clients together
	MaxLoad    time.Duration // the longest load; loads read the source first and then linger
}

// A Report is what a run has seen.
type Report struct {
	Operations int64
	Loads      int64
	Resets     int64    // of any kind, that returned no error
	Cancelled  int64    // operations that were given up by their ctx
	Failed     []string // unexpected errors, the first few
	Violations []string // the first few
	Violated   int64
}

type runner struct {
	Run
	left, loads, resets, cancelled, violated atomic.Int64

	mu     sync.Mutex
	report Report
}

// Do runs until Operations are done or ctx ends.
func (r Run) Do(ctx context.Context) Report {
	rr := &runner{Run: r}
	rr.left.Store(r.Operations)
	var wg sync.WaitGroup
	for _, client := range r.Clients {
		w := rr.worker(client)
		for range r.Goroutines {
			wg.Go(func() {
				for ctx.Err() == nil && rr.left.Add(-1) >= 0 {
					w.step(ctx)
				}
			})
		}
	}
	wg.Wait()
	rr.report.Operations = r.Operations - max(rr.left.Load(), 0)
	rr.report.Loads, rr.report.Resets = rr.loads.Load(), rr.resets.Load()
	rr.report.Cancelled, rr.report.Violated = rr.cancelled.Load(), rr.violated.Load()
	return rr.report
}

// A Row names a row of the source. The first half of the rows is read through a wrapper with the tag in its options, the
// second half through one that adds the tag in the middle of its loads.
type Row struct {
	Key    int
	Parity int
}

func row(key int) Row { return Row{key, key % 2} }

func (r Row) tag() string { return fmt.Sprintf("parity-%d", r.Parity) }

type worker struct {
	*runner
	client *cachify.Client
	cached [2]*cachify.Cached[Row, int64]
}

func (r *runner) worker(client *cachify.Client) *worker {
	load := func(ctx context.Context, row Row) (int64, error) {
		r.loads.Add(1)
		v := r.Source.Read(row.Key)
		if rand.N(4) > 0 {
			time.Sleep(rand.N(r.MaxLoad + 1)) // what was read grows old
		}
		return v, nil
	}
	tagging := func(ctx context.Context, row Row) (int64, error) {
		v, err := load(ctx, row)
		cachify.AddTags(ctx, row.tag())
		return v, err
	}
	tagged := &cachify.CachedOptions{Tags: []string{"parity-<parity>"}}
	return &worker{runner: r, client: client, cached: [2]*cachify.Cached[Row, int64]{
		cachify.Must(cachify.NewCached(client, "row-<key>-<parity>", load, tagged)),
		cachify.Must(cachify.NewCached(client, "late-<key>-<parity>", tagging, nil)),
	}}
}

// of returns the wrapper of key.
func (w *worker) of(key int) *cachify.Cached[Row, int64] { return w.cached[key*2/Keys] }

// step makes one operation.
func (w *worker) step(ctx context.Context) {
	if rand.N(8) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(w.MaxLoad+1))
		defer cancel()
	}
	key := rand.N(Keys)
	switch n := rand.N(100); {
	case n < 70:
		w.get(ctx, key)
	case n < 74:
		w.getMany(ctx)
	case n < 80:
		w.peek(ctx, key)
	case n < 84:
		w.refresh(ctx, key)
	case n < 88:
		w.put(ctx, key)
	case n < 96:
		w.reset(ctx, func(ctx context.Context) error { return w.of(key).Reset(ctx, row(key)) }, key)
	case n < 99:
		w.reset(ctx, func(ctx context.Context) error { return w.client.ResetTags(ctx, row(key).tag()) },
			where(func(k int) bool { return k%2 == key%2 })...)
	default:
		w.reset(ctx, func(ctx context.Context) error { return w.of(key).ResetAll(ctx) },
			where(func(k int) bool { return w.of(k) == w.of(key) })...)
	}
}

func where(want func(int) bool) (keys []int) {
	for key := range Keys {
		if want(key) {
			keys = append(keys, key)
		}
	}
	return keys
}

func (w *worker) get(ctx context.Context, key int) {
	floor := w.Source.Floor(key)
	v, err := w.of(key).Get(ctx, row(key))
	w.check(ctx, "Get", key, v, floor, err)
}

func (w *worker) getMany(ctx context.Context) {
	half := rand.N(2)
	keys := where(func(k int) bool { return w.of(k) == w.cached[half] })
	var rows []Row
	var floors []int64
	for _, key := range keys {
		rows = append(rows, row(key))
		floors = append(floors, w.Source.Floor(key))
	}
	values, err := w.cached[half].GetMany(ctx, rows)
	for i, key := range keys {
		w.check(ctx, "GetMany", key, values[i], floors[i], err)
	}
}

func (w *worker) peek(ctx context.Context, key int) {
	floor := w.Source.Floor(key)
	if v, ok, err := w.of(key).Peek(ctx, row(key)); ok || err != nil {
		w.check(ctx, "Peek", key, v, floor, err)
	}
}

// refresh runs the function anew, so it may not even give what was the row when it began.
func (w *worker) refresh(ctx context.Context, key int) {
	version := w.Source.Read(key)
	v, err := w.of(key).Refresh(ctx, row(key))
	w.check(ctx, "Refresh", key, v, version, err)
}

// put leaves the second half alone: what Put stores carries no tags of a load.
func (w *worker) put(ctx context.Context, key int) {
	if w.of(key) != w.cached[0] || !w.Source.tryPut(key) {
		return
	}
	defer w.Source.donePut(key)
	err := w.of(key).Put(ctx, row(key), w.Source.Write(key))
	w.check(ctx, "Put", key, 0, 0, err)
}

func (w *worker) reset(ctx context.Context, reset func(context.Context) error, keys ...int) {
	if !w.Source.tryReset(keys...) {
		return
	}
	defer w.Source.doneReset(keys...)
	versions := make([]int64, len(keys))
	for i, key := range keys {
		versions[i] = w.Source.Write(key)
	}
	err := reset(ctx)
	w.check(ctx, "Reset", keys[0], 0, 0, err)
	if err != nil {
		return
	}
	w.resets.Add(1)
	for i, key := range keys {
		w.Source.raise(key, versions[i])
	}
}

func (w *worker) check(ctx context.Context, what string, key int, v, least int64, err error) {
	switch {
	case err == nil && v >= least:
	case err == nil:
		w.violated.Add(1)
		w.note(&w.report.Violations, fmt.Sprintf("%s of %d gave %d, at least %d was due", what, key, v, least))
	case ended(ctx):
		w.cancelled.Add(1)
	default:
		w.note(&w.report.Failed, fmt.Sprintf("%s of %d: %v", what, key, err))
	}
}

// ended also in the moment in which the deadline has passed but ctx's timer is yet to run.
func ended(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

func (r *runner) note(list *[]string, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(*list) < 10 {
		*list = append(*list, text)
	}
}
