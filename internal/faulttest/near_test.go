//go:build unix

package faulttest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	nearKeys    = 64                     // so many that a key whose reset was missed stays old for a while
	nearPast    = 512                    // the versions of a key whose resets are remembered
	nearReaders = 4                      // in each process
	nearLoad    = 3 * time.Millisecond   // the longest load: what it has read grows old
	nearPace    = 3 * time.Millisecond   // between two resets of a process, at most twice that
	nearLag     = 100 * time.Millisecond // how old what another process gives may be while connections come and go
	nearSilence = 2 * time.Second        // until a connection that is silent is taken for lost
	nearLonger  = 30 * time.Second       // that a slow machine gets at most
)

func init() { children["near"] = nearChild }

// TestNear has two processes with warm near caches reset, at random, half of the keys each, and read all of them all the time.
// In the process that resets nothing old may be read once the reset has returned, or failed; in the other one not after nearLag, or,
// where the connection falls silent, after it has been taken for lost.
func TestNear(t *testing.T) {
	for _, test := range []struct {
		name    string
		lag     time.Duration
		lasts   time.Duration
		trouble func(*nearTrouble)
	}{
		{"calm", nearLag, time.Second, func(*nearTrouble) {}},
		{"connections cut", nearLag, 5 * time.Second / 2, (*nearTrouble).cut},
		{"connections silent", nearSilence + nearLag, 9 * time.Second / 2, (*nearTrouble).stall},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				trouble := &nearTrouble{t: t, admin: server.Client(t)}
				source := t.TempDir() + "/source"
				noError(t, os.WriteFile(source, make([]byte, unsafe.Sizeof(nearSource{})), 0o600))
				orders := make([]nearOrder, 2)
				for i := range orders {
					proxy := redistest.StartProxy(t, server.Addr())
					trouble.proxies = append(trouble.proxies, proxy)
					orders[i] = nearOrder{Source: source, Addr: proxy.Addr(), Half: i, Lasts: test.lasts, Rest: 2*nearLag + test.lag}
				}
				other := startProcess(t, "near", server.Addr())
				other.send(orders[1])
				ctx, cancel := context.WithTimeout(t.Context(), test.lasts)
				defer cancel()
				var running sync.WaitGroup
				running.Go(func() { trouble.until(ctx, test.trouble) })
				here, err := orders[0].run()
				noError(t, err)
				running.Wait()
				var there nearReport
				other.receive(&there)
				for i, report := range []nearReport{here, there} {
					report.judge(t, w, test.lag)
					t.Logf("process %d: %s", i, &report)
				}
				t.Logf("%d troubles; machine %v", trouble.times, short(time.Duration(w.worst.Load())))
			})
		})
	}
}

// A nearTrouble troubles the connections of the processes.
type nearTrouble struct {
	t       testing.TB
	admin   *redis.Client
	proxies []*redistest.Proxy
	times   int
}

func (n *nearTrouble) until(ctx context.Context, make func(*nearTrouble)) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(20*time.Millisecond + rand.N(100*time.Millisecond)):
			make(n)
		}
	}
	for _, p := range n.proxies {
		p.Stall(false)
	}
}

func (n *nearTrouble) any() *redistest.Proxy { return n.proxies[rand.N(len(n.proxies))] }

func (n *nearTrouble) cut() {
	n.times++
	if rand.N(2) == 0 {
		n.any().Cut()
		return
	}
	if err := n.admin.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Err(); err != nil {
		n.t.Error(err)
	}
}

// stall holds a process back, now and then until it takes its connections for lost.
func (n *nearTrouble) stall() {
	n.times++
	p := n.any()
	p.Stall(true)
	time.Sleep(rand.N(100 * time.Millisecond))
	if n.times%5 == 3 {
		time.Sleep(nearSilence * 5 / 4)
	}
	p.Stall(false)
}

// nearCells are the source of truth, in memory that the processes share. It only grows.
type nearCells [nearKeys]nearCell

// A nearSource is what the processes share.
type nearSource struct {
	cells nearCells
	quiet atomic.Int32 // processes that have done with resetting
}

type nearCell struct {
	version atomic.Int64
	floor   atomic.Int64           // the latest version whose reset has returned without an error
	done    [nearPast]atomic.Int64 // when that was, by version, in nanoseconds since 1970; 0: the reset failed
}

func shareSource(file string) (*nearSource, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	memory, err := syscall.Mmap(int(f.Fd()), 0, int(unsafe.Sizeof(nearSource{})), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return (*nearSource)(unsafe.Pointer(unsafe.SliceData(memory))), nil
}

// A nearOrder says what a process is to do.
type nearOrder struct {
	Source string // the file of nearSource
	Addr   string // of its proxy
	Half   int    // of the keys, to reset: the even or the odd ones
	Lasts  time.Duration
	Rest   time.Duration // for which it goes on reading
}

// A nearReport is what a process has seen.
type nearReport struct {
	Reads, NearHits, Invalidations int64
	Resets, Failed                 int64 // without and with an error
	Own                            []string
	Late                           int64         // old values of the other process' keys
	Lag                            time.Duration // the longest time after a reset at which one was read
	LagOf                          string
	Stuck                          []string // old values when all was over
	Errs                           []string
}

func (r *nearReport) String() string {
	return fmt.Sprintf("%d reads, %d of them near; %d resets, %d failed; %d messages; %d reads old by its own resets, %d by another's, up to %v after it",
		r.Reads, r.NearHits, r.Resets, r.Failed, r.Invalidations, len(r.Own), r.Late, short(r.Lag))
}

func (r *nearReport) tooLittle() bool {
	return r.NearHits < 1000 || r.Invalidations < 100 || r.Resets < 20
}

func (r *nearReport) judge(t testing.TB, w *stopwatch, lag time.Duration) {
	t.Helper()
	if len(r.Own) > 0 {
		t.Errorf("old values after a reset in the same process: %q", r.Own[:min(5, len(r.Own))])
	}
	if len(r.Stuck) > 0 {
		t.Errorf("old values that nothing would have removed: %q", r.Stuck[:min(5, len(r.Stuck))])
	}
	if len(r.Errs) > 0 {
		t.Errorf("Get gave errors: %q", r.Errs[:min(5, len(r.Errs))])
	}
	if r.tooLittle() {
		t.Errorf("too little has happened: %s", r)
	}
	w.check("the last old value: "+r.LagOf, r.Lag, lag, time.Duration(w.worst.Load()))
}

// A nearRun is a process at work.
type nearRun struct {
	nearOrder
	cells  *nearCells
	client *cachify.Client
	cached *cachify.Cached[int, int64]
	own    [nearKeys]atomic.Int64 // what a Get must give at least that starts now, by the resets of this process

	mu     sync.Mutex
	report nearReport
}

func nearChild(string) {
	p := newParent()
	p.send(true)
	var order nearOrder
	p.receive(&order)
	report, err := order.run()
	if err != nil {
		report.Errs = append(report.Errs, err.Error())
	}
	p.send(report)
}

func (o nearOrder) run() (nearReport, error) {
	source, err := shareSource(o.Source)
	if err != nil {
		return nearReport{}, err
	}
	rdb := redis.NewClient(&redis.Options{Addr: o.Addr})
	defer rdb.Close()
	cells := &source.cells
	r := &nearRun{nearOrder: o, cells: cells}
	r.client = cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "near:", TTL: time.Hour, Logger: slog.New(slog.DiscardHandler)})
	defer r.client.Close()
	r.cached, err = cachify.NewCached(r.client, "n-<n>", r.load, &cachify.CachedOptions{
		Tags: []string{"tag-<n>"}, Near: &cachify.NearOptions{TTL: time.Hour},
	})
	if err != nil {
		return nearReport{}, err
	}
	ends := time.Now().Add(o.Lasts)
	var resetting, reading sync.WaitGroup
	resetting.Go(func() { r.resets(ends) })
	calm, stop := context.WithCancel(context.Background())
	for range nearReaders {
		reading.Go(func() { r.reads(calm) })
	}
	resetting.Wait()
	source.quiet.Add(1)
	for over := time.Now().Add(2 * nearLonger); source.quiet.Load() < 2 && time.Now().Before(over); {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(o.Rest) // nothing is reset any more: what is old now stays old
	stop()
	reading.Wait()
	for key := range nearKeys {
		floor := cells[key].floor.Load()
		if v, err := r.cached.Get(context.Background(), key); err == nil && v < floor {
			r.report.Stuck = append(r.report.Stuck, fmt.Sprintf("%d of key %d where %d was due", v, key, floor))
		}
	}
	r.tooLittle()
	return r.report, nil
}

// tooLittle says whether what has happened so far proves nothing.
func (r *nearRun) tooLittle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	stats := r.client.Stats()
	r.report.NearHits, r.report.Invalidations = stats.NearHits, stats.InvalidationsReceived
	return r.report.tooLittle()
}

func (r *nearRun) load(_ context.Context, key int) (int64, error) {
	v := r.cells[key].version.Load()
	if rand.N(4) > 0 {
		time.Sleep(rand.N(nearLoad))
	}
	return v, nil
}

// resets goes on after the troubles if the machine was too slow for them to say anything.
func (r *nearRun) resets(ends time.Time) {
	for now := time.Now(); now.Before(ends) || r.tooLittle() && now.Before(ends.Add(nearLonger)); now = time.Now() {
		r.reset(rand.N(nearKeys/2)*2 + r.Half)
		time.Sleep(rand.N(2 * nearPace))
	}
}

// reset makes a new version and resets the key in one of the ways that there are. All of them work on what others reset as well.
func (r *nearRun) reset(key int) {
	ctx := context.Background()
	cell := &r.cells[key]
	v := cell.version.Add(1)
	var err error
	switch n := rand.N(200); {
	case n < 80:
		err = r.cached.Reset(ctx, key)
	case n < 120:
		err = r.cached.Put(ctx, key, v)
	case n < 199:
		err = r.client.ResetTags(ctx, fmt.Sprintf("tag-%d", key))
	default: // seldom, since it makes good whatever was missed before it
		err = r.cached.ResetAll(ctx)
	}
	r.own[key].Store(v)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		cell.done[v%nearPast].Store(0)
		r.report.Failed++
		return
	}
	r.report.Resets++
	cell.done[v%nearPast].Store(time.Now().UnixNano())
	cell.floor.Store(v)
}

func (r *nearRun) reads(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		r.read(rand.N(nearKeys))
		if n%100 == 0 {
			time.Sleep(time.Millisecond) // the machine is not to be what is measured
		}
	}
}

func (r *nearRun) read(key int) {
	cell := &r.cells[key]
	own, floor, began := r.own[key].Load(), cell.floor.Load(), time.Now()
	v, err := r.cached.Get(context.Background(), key)
	mine := key%2 == r.Half
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Reads++
	switch {
	case err != nil:
		r.report.Errs = append(r.report.Errs, err.Error())
	case mine && v < own:
		r.report.Own = append(r.report.Own, fmt.Sprintf("%d of key %d where %d was due", v, key, own))
	case !mine && v < floor:
		r.report.Late++
		if lag := began.Sub(cell.resetAfter(v)); lag > r.report.Lag {
			r.report.Lag = lag
			r.report.LagOf = fmt.Sprintf("%d of key %d where %d was due", v, key, floor)
		}
	}
}

// resetAfter tells when the first reset returned that makes a version an old one.
func (c *nearCell) resetAfter(version int64) time.Time {
	for v := version + 1; v <= c.floor.Load(); v++ {
		if done := c.done[v%nearPast].Load(); done != 0 {
			return time.Unix(0, done)
		}
	}
	return time.Now()
}
