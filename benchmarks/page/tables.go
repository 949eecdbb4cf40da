package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-cachify/cachify/benchmarks/results"
)

const (
	cachify = "cachify"
	goRedis = "go-redis"
	rueidis = "rueidis"
	otter   = "otter"
	alone   = "the function alone"
	nothing = "–"
)

// raw are what caches are built on. The other libraries are peers.
var raw = []string{goRedis, "go-redis, auto-pipelined", rueidis, otter, cachify}

func figures(r *results.Run, mod string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, Redis %s, %s, %d cores, %d rounds.\n\n", r.Go, r.Redis, r.System, r.Cores, r.Rounds)
	goalTable(&b, r)
	for _, w := range works {
		fmt.Fprintf(&b, "\n### %s\n\n%s\n\n", w.title, w.says)
		for _, c := range charts {
			if c.work == w.work {
				fmt.Fprintf(&b, "![%s](benchmarks/%s)\n\n", c.title, c.file)
			}
		}
		w.table(&b, r)
	}
	b.WriteString("\n### How each library was used\n\n")
	var rows [][]string
	for _, l := range r.Libraries {
		rows = append(rows, []string{l.Name, version(mod, l.Module), l.How})
	}
	table(&b, []string{"library", "version", "used as"}, rows)
	return b.String()
}

var works = []struct {
	work, title, says string
	table             func(*strings.Builder, *results.Run)
}{
	{"hit", "Hit in Redis", "The time of a call over all goroutines: what passed, divided by the calls. In brackets, as a multiple of go-redis' time.", timed("hit", goRedis)},
	{"near shared", "Near hit, the value shared", "In brackets, as a multiple of otter's time, the rendering of the key included.", timed("near shared", otter)},
	{"near decoded", "Near hit, decoded for each caller", "In brackets, as a multiple of rueidis' time.", timed("near decoded", rueidis)},
	{"miss", "Miss and fill", "One caller, a function that costs nothing. Round trips are counted at the server. In brackets, as a multiple of go-redis' time, " +
		"which protects from nothing.", missTable},
	{"many", "A hundred hits in one call", "In brackets, as a multiple of go-redis' MGET and decoding.", timed("many", goRedis)},
	{"stampede", "Stampede", "Four processes of 250 callers ask for one cold key at the same moment. The function takes 100 ms. p50 and p99 are the callers' waits.",
		byMetric("stampede", "loads", "p50 ms", "p99 ms")},
	{"outage", "Redis killed, Redis stalled", "Four callers ask for keys that nobody has, and the function takes a millisecond. The clients have their default timeouts, and the callers no deadline. " +
		"Who had no answer at the end of the run counts with its wait until then.", outageTable},
	{"old value", "Old value after Reset", "Runs in which a call that began after Reset had returned was given the value from before it, out of all runs. " +
		"A gate in the function makes the order of events; what is left to chance is the library's own.", staleTable},
}

func table(b *strings.Builder, head []string, rows [][]string) {
	line := func(cells []string) { fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(strings.Split(strings.Repeat("---,", len(head)-1)+"---", ","))
	for _, row := range rows {
		line(row)
	}
}

// lines has a row for each library that has any figure of a work.
func lines(b *strings.Builder, r *results.Run, work string, head []string, cells func(library string) []string) {
	var rows [][]string
	for _, l := range names(r) {
		if r.Has(work, l) {
			rows = append(rows, append([]string{l}, cells(l)...))
		}
	}
	table(b, append([]string{""}, head...), rows)
}

// names are all that figures are of, the libraries in their order first.
func names(r *results.Run) (all []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			all = append(all, name)
		}
	}
	add(alone)
	for _, l := range r.Libraries {
		add(l.Name)
		add(l.Name + ", near cache")
	}
	return all
}

func timed(work, base string) func(*strings.Builder, *results.Run) {
	return func(b *strings.Builder, r *results.Run) {
		cases := r.Cases(work)
		lines(b, r, work, cases, func(l string) (cells []string) {
			for _, c := range cases {
				cells = append(cells, timeCell(r, work, c, l, base))
			}
			return cells
		})
	}
}

func timeCell(r *results.Run, work, kase, library, base string) string {
	ns, ok1 := r.Median(work, kase, "ns", library)
	ratio, ok2 := r.Ratio(work, kase, "ns", library, base)
	switch {
	case !ok1:
		return nothing
	case !ok2:
		return duration(ns)
	}
	return fmt.Sprintf("%s (%.2f)", duration(ns), ratio)
}

func missTable(b *strings.Builder, r *results.Run) {
	cases := r.Cases("miss")
	lines(b, r, "miss", append(cases, "round trips"), func(l string) (cells []string) {
		for _, c := range cases {
			cells = append(cells, timeCell(r, "miss", c, l, goRedis))
		}
		return append(cells, medianCell(r, "miss", cases[0], "round trips", l))
	})
}

func byMetric(work string, metrics ...string) func(*strings.Builder, *results.Run) {
	return func(b *strings.Builder, r *results.Run) {
		lines(b, r, work, metrics, func(l string) (cells []string) {
			for _, m := range metrics {
				cells = append(cells, medianCell(r, work, "", m, l))
			}
			return cells
		})
	}
}

func outageTable(b *strings.Builder, r *results.Run) {
	metrics := []string{"calls", "errors", "without answer", "p50 ms", "p99 ms"}
	for i, c := range r.Cases("outage") {
		if i > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "Redis %s:\n\n", c)
		lines(b, r, "outage", metrics, func(l string) (cells []string) {
			for _, m := range metrics {
				cells = append(cells, medianCell(r, "outage", c, m, l))
			}
			return cells
		})
	}
}

func staleTable(b *strings.Builder, r *results.Run) {
	cases := r.Cases("old value")
	lines(b, r, "old value", cases, func(l string) (cells []string) {
		for _, c := range cases {
			sum, n := r.Sum("old value", c, "stale", l)
			cell := nothing
			if n > 0 {
				cell = fmt.Sprintf("%.0f of %d", sum, n)
			}
			cells = append(cells, cell)
		}
		return cells
	})
}

func medianCell(r *results.Run, work, kase, metric, library string) string {
	v, ok := r.Median(work, kase, metric, library)
	if !ok {
		return nothing
	}
	return number(v)
}

// number has three digits that count, and no decimals it does not need.
func number(v float64) string {
	switch {
	case v == float64(int64(v)):
		return fmt.Sprintf("%d", int64(v))
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func duration(ns float64) string {
	switch d := time.Duration(ns); {
	case d >= time.Millisecond:
		return number(ns/1e6) + " ms"
	case d >= time.Microsecond:
		return number(ns/1e3) + " µs"
	}
	return fmt.Sprintf("%.0f ns", ns)
}
