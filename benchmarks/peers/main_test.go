//go:build unix

package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/benchmarks/results"
	"github.com/go-cachify/cachify/internal/redistest"
)

// childEnv is set to an orders in JSON for the processes that the test starts of itself.
const childEnv = "CACHIFY_PEERS_CHILD"

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	if text := os.Getenv(childEnv); text == "" {
		os.Exit(m.Run())
	}
	var o orders
	if err := json.Unmarshal([]byte(os.Getenv(childEnv)), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	child = &o
	os.Args = []string{os.Args[0], "-test.run=^TestChild$", "-test.timeout=15m"}
	os.Exit(m.Run())
}

// silence keeps go-redis from logging each connection that an outage refuses.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// A scale says how long the works take.
type scale struct {
	strict    bool // a work whose hits were none fails: its figures mean nothing
	keys      int  // over which hits are spread, a multiple of the goroutines
	rounds    int
	split     int           // turns of a lone caller in one round
	slice     time.Duration // of one library in one round of a timed work
	stampedes int           // measured ones
	load      time.Duration // in a stampede
	calls     int           // of each of the callers in an outage, at most,
	outage    time.Duration // and for how long
	patience  time.Duration // with a call that goes on after that
	resets    int           // of each situation
	joined    time.Duration // after which a reader without an answer is taken to wait for another's load
	settled   time.Duration // after which another process must have heard of a Reset
}

var scales = map[string]scale{
	"": {keys: 256, rounds: 1, split: 1, slice: 2 * time.Millisecond, stampedes: 1, load: 20 * time.Millisecond,
		calls: 20, outage: 100 * time.Millisecond, patience: 100 * time.Millisecond, resets: 1, joined: 40 * time.Millisecond, settled: 500 * time.Millisecond},
	"short": {strict: true, keys: 512, rounds: 3, split: 6, slice: 60 * time.Millisecond, stampedes: 3, load: 100 * time.Millisecond,
		calls: 500, outage: time.Second, patience: 6 * time.Second, resets: 3, joined: 100 * time.Millisecond, settled: 100 * time.Millisecond},
	"full": {strict: true, keys: 512, rounds: 11, split: 10, slice: 250 * time.Millisecond, stampedes: 7, load: 100 * time.Millisecond,
		calls: 2000, outage: 5 * time.Second, patience: 20 * time.Second, resets: 10, joined: 100 * time.Millisecond, settled: 100 * time.Millisecond},
}

var errMiss = errors.New("a miss")

// A bench is one run of all works.
type bench struct {
	scale
	server *redistest.Server
	run    *results.Run
}

// TestPeers runs all works. CACHIFY_PEERS_BENCH=short or full makes figures that mean something, and CACHIFY_PEERS_OUT names the file
// to write them to.
func TestPeers(t *testing.T) {
	s, ok := scales[os.Getenv("CACHIFY_PEERS_BENCH")]
	if !ok {
		t.Fatal("CACHIFY_PEERS_BENCH must be short, full or empty")
	}
	b := &bench{scale: s, server: redistest.Start(t), run: newRun(s.rounds)}
	b.describe(t)
	for _, work := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"Hits", b.hits}, {"NearHits", b.nearHits}, {"Misses", b.misses}, {"Many", b.many},
		{"Stampede", b.stampede}, {"Outage", b.outages}, {"Reset", b.oldValues},
	} {
		if !t.Run(work.name, work.do) {
			t.Fatal("no figures: a work failed")
		}
		b.server.Flush()
	}
	if path := os.Getenv("CACHIFY_PEERS_OUT"); path != "" {
		noError(t, b.run.Save(path))
	}
	b.log(t)
}

func newRun(rounds int) *results.Run {
	r := &results.Run{Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Rounds: rounds}
	for _, p := range peers[small]() {
		r.Libraries = append(r.Libraries, results.Library{Name: p.name, Module: p.module, How: p.how})
	}
	return r
}

func (b *bench) describe(t *testing.T) {
	info, err := b.server.Client(t).InfoMap(t.Context(), "server").Result()
	noError(t, err)
	b.run.Redis = info["Server"]["redis_version"]
}

func (b *bench) log(t *testing.T) {
	for _, f := range b.run.Figures {
		m, _ := b.run.Median(f.Work, f.Case, f.Metric, f.Library)
		t.Logf("%-12s %-28s %-26s %14.1f %s", f.Work, f.Case, f.Library, m, f.Metric)
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// percentile sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}

// millis is how the figures give waits.
func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
