//go:build unix

package locks

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

const processes = 4

// Some of a round is over before it is looked at, so that all waiters are there.
const settle = 300 * time.Millisecond

type scenario struct {
	waiters int // of each process
	hold    time.Duration
	rounds  int
	length  time.Duration // of a round
}

var (
	scenarios = []scenario{
		{50, time.Millisecond, 2, 3 * time.Second},
		{50, 20 * time.Millisecond, 2, 8 * time.Second},
		{1, time.Millisecond, 2, 2 * time.Second},
		{1, 20 * time.Millisecond, 2, 2 * time.Second},
	}
	names = []string{"cachify", "redislock 1 ms", "redislock 10 ms", "redislock 100 ms", "redislock exponential", "redsync", "rueidislock"}
)

// TestHandover has four processes contend for one lock. In full it compares; else it looks whether cachify alone is as it should be,
// as far as that does not hang on the machine.
func TestHandover(t *testing.T) {
	if !full {
		y := scenario{waiters: 50, hold: time.Millisecond, length: time.Second}.run(t, "cachify")
		fmt.Fprint(t.Output(), table([]string{"cachify"}, []tally{y}))
		y.check(t, "cachify")
		if commands := y.per(y.commands()); commands > 10 {
			t.Errorf("%.1f commands for each of %d hand-overs, want at most 10: %v", commands, len(y.handovers), y.calls)
		}
		return
	}
	fmt.Fprint(t.Output(), legend)
	for _, s := range scenarios {
		t.Run(fmt.Sprintf("%d processes of %d hold for %v", processes, s.waiters, s.hold), s.compare)
	}
}

func (s scenario) compare(t *testing.T) {
	tallies := make([]tally, len(names))
	for range s.rounds { // the lockers take turns, so that all meet the same noise
		for i, name := range names {
			tallies[i] = tallies[i].add(s.run(t, name))
		}
	}
	fmt.Fprint(t.Output(), table(names, tallies), tallies[0].perCommand())
	for i, y := range tallies {
		y.check(t, names[i])
	}
}

// run is one round of one locker, on a server of its own.
func (s scenario) run(t *testing.T, name string) tally {
	t.Helper()
	server := redistest.Start(t)
	defer server.Kill()
	children := make([]*process, processes)
	for i := range children {
		children[i] = start(t, orders{name, server.Addr(), s.waiters, s.hold})
		defer children[i].kill()
	}
	for _, child := range children {
		child.send(t)
	}
	time.Sleep(settle)
	server.ResetCalls()
	begin := now()
	time.Sleep(s.length)
	calls, reads, end := server.Calls(), requests(t, server), now()
	var waits []wait
	for _, child := range children {
		child.send(t)
	}
	for i, child := range children {
		var ofWaiters [][]wait
		child.receive(t, &ofWaiters)
		for _, some := range ofWaiters {
			for _, w := range some {
				w.Process = i
				waits = append(waits, w)
			}
		}
	}
	y := tallyUp(waits, begin, end, processes, s.waiters)
	y.calls, y.requests = calls, reads
	return y
}

// requests gives how often the server has read from its connections since ResetCalls.
func requests(t *testing.T, server *redistest.Server) (n int) {
	t.Helper()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	info, err := rdb.Info(t.Context(), "stats").Result()
	noError(t, err)
	_, text, _ := strings.Cut(info, "total_reads_processed:")
	_, err = fmt.Sscan(text, &n)
	noError(t, err)
	return n
}

const legend = `A hand-over is the time from the moment at which a holder calls release to the moment at which the next holder has the lock.
commands: for each hand-over, as INFO commandstats counts, those within scripts as well; requests: reads of the server, a pipeline is one.
in process: hand-overs within one process. processes: the share of the process with the fewest holdings, relative to the one with the most.
got none: waiters without any holding in one round. All are of the worse round, where there are two, except for times and rates.
`

func table(names []string, tallies []tally) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\thand-overs/s\tp50 ms\tp99 ms\tcommands\trequests\tin process\tprocesses\tgot none\tlongest wait ms\t")
	for i, y := range tallies {
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%s\t%.1f\t%.1f\t%.0f %%\t%.2f\t%d of %d\t%.0f\t\n", names[i],
			float64(len(y.handovers))/y.elapsed.Seconds(), millis(percentile(y.handovers, 0.5)), millis(percentile(y.handovers, 0.99)),
			y.per(y.commands()), y.per(y.requests), 100*y.per(y.near), y.share, y.none, y.waiters, y.longest.Seconds()*1000)
	}
	_ = w.Flush()
	return b.String()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

// perCommand tells of what the commands of cachify are made up.
func (y tally) perCommand() string {
	var b strings.Builder
	b.WriteString("of cachify's commands:")
	for _, name := range slices.Sorted(maps.Keys(y.calls)) {
		if per := y.per(y.calls[name]); per >= 0.005 {
			fmt.Fprintf(&b, " %s %.2f", name, per)
		}
	}
	return b.String() + "\n"
}

func (y tally) check(t *testing.T, name string) {
	t.Helper()
	if len(y.handovers) == 0 {
		t.Errorf("%s: no hand-over at all", name)
	}
	if y.overlaps > 0 {
		t.Errorf("%s: %d holdings at the same time as another", name, y.overlaps)
	}
}
