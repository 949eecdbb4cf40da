package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-cachify/cachify/benchmarks/results"
)

// opTimeout is cachify's default, in milliseconds.
const opTimeout = 250

// A verdict is one goal and what came of it, in as many cases as it has.
type verdict struct {
	work, goal string
	measured   []string
	missed     bool
}

// most notes a value that must not exceed a limit.
func (v *verdict) most(label string, value float64, ok bool, limit float64, unit string) {
	if ok {
		v.measured = append(v.measured, strings.TrimPrefix(label+": ", ": ")+number(value)+unit)
		v.missed = v.missed || value > limit
	}
}

func (v *verdict) least(label string, value float64, ok bool, limit float64, unit string) {
	if ok {
		v.measured = append(v.measured, strings.TrimPrefix(label+": ", ": ")+number(value)+unit)
		v.missed = v.missed || value < limit
	}
}

func (v *verdict) row() []string {
	outcome := "reached"
	switch {
	case len(v.measured) == 0:
		return []string{v.work, v.goal, nothing, "not measured"}
	case v.missed:
		outcome = "**missed**"
	}
	return []string{v.work, v.goal, strings.Join(v.measured, "; "), outcome}
}

func goalTable(b *strings.Builder, r *results.Run) {
	var rows [][]string
	for _, vs := range [][]verdict{hitGoals(r), nearGoals(r), fillGoals(r), outageGoals(r), {staleGoal(r)}} {
		for _, v := range vs {
			rows = append(rows, v.row())
		}
	}
	table(b, []string{"work", "goal", "cachify", ""}, rows)
}

// speed is how many calls cachify does in the time of one of another library.
func speed(r *results.Run, work, kase, other string) (float64, bool) {
	return r.Ratio(work, kase, "ns", other, cachify)
}

// lead is cachify's speed beside the fastest of the others.
func lead(r *results.Run, work, kase string, others []string) (least float64, name string) {
	for _, other := range others {
		if s, ok := speed(r, work, kase, other); ok && (name == "" || s < least) {
			least, name = s, other
		}
	}
	return least, name
}

func (v *verdict) ahead(r *results.Run, work, kase string, others []string, limit float64) {
	s, name := lead(r, work, kase, others)
	v.least(kase, s, name != "", limit, " times "+name)
}

// peers are the libraries that are caches, but for cachify.
func peers(r *results.Run) (all []string) {
	for _, l := range r.Libraries {
		if !slices.Contains(raw, l.Name) {
			all = append(all, l.Name)
		}
	}
	return all
}

func hitGoals(r *results.Run) []verdict {
	few := verdict{work: "hit in Redis, 1 goroutine", goal: "at most 1.10 times the time of go-redis and decoding"}
	fewPeers := verdict{work: few.work, goal: "faster than every peer"}
	many := verdict{work: "hit in Redis, more goroutines", goal: "at least 2.5 times as fast as go-redis"}
	manyRueidis := verdict{work: many.work, goal: "at least as fast as rueidis"}
	manyPeers := verdict{work: many.work, goal: "at least twice as fast as every peer"}
	for _, c := range r.Cases("hit") {
		if strings.HasSuffix(c, " 1 goroutine") {
			ratio, ok := r.Ratio("hit", c, "ns", cachify, goRedis)
			few.most(c, ratio, ok, 1.10, "")
			fewPeers.ahead(r, "hit", c, peers(r), 1)
			continue
		}
		s, ok := speed(r, "hit", c, goRedis)
		many.least(c, s, ok, 2.5, "")
		s, ok = speed(r, "hit", c, rueidis)
		manyRueidis.least(c, s, ok, 1, "")
		manyPeers.ahead(r, "hit", c, peers(r), 2)
	}
	return []verdict{few, fewPeers, many, manyRueidis, manyPeers}
}

func nearGoals(r *results.Run) []verdict {
	shared := verdict{work: "near hit, shared", goal: "at most 1.5 times the time of otter and the rendering of the key"}
	allocs := verdict{work: shared.work, goal: "at most 1 allocation"}
	sharedPeers := verdict{work: shared.work, goal: "faster than every peer"}
	decoded := verdict{work: "near hit, decoded", goal: "faster than all that decode"}
	for _, c := range r.Cases("near shared") {
		ratio, ok := r.Ratio("near shared", c, "ns", cachify, otter)
		shared.most(c, ratio, ok, 1.5, "")
		n, ok := r.Median("near shared", c, "allocs", cachify)
		allocs.most(c, n, ok, 1, "")
		sharedPeers.ahead(r, "near shared", c, peers(r), 1)
	}
	for _, c := range r.Cases("near decoded") {
		decoded.ahead(r, "near decoded", c, append(peers(r), rueidis), 1)
	}
	return []verdict{shared, allocs, sharedPeers, decoded}
}

func fillGoals(r *results.Run) []verdict {
	trips := verdict{work: "miss and fill", goal: "at most 3 round trips"}
	guarded := verdict{work: "miss and fill", goal: "faster than rockscache and rueidisaside"}
	for _, c := range r.Cases("miss") {
		n, ok := r.Median("miss", c, "round trips", cachify)
		trips.most(c, n, ok, 3, "")
		guarded.ahead(r, "miss", c, []string{"rockscache", "rueidisaside"}, 1)
	}
	loads := verdict{work: "stampede", goal: "1 load"}
	n, ok := r.Median("stampede", "", "loads", cachify)
	loads.most("", n, ok, 1, "")
	wait := verdict{work: "stampede", goal: "p99 of the wait at most 110 ms"}
	p99, ok := r.Median("stampede", "", "p99 ms", cachify)
	wait.most("", p99, ok, 110, " ms")
	batch := verdict{work: "a hundred hits in one call", goal: "at most 1.2 times the time of MGET and decoding"}
	for _, c := range r.Cases("many") {
		ratio, ok := r.Ratio("many", c, "ns", cachify, goRedis)
		batch.most(c, ratio, ok, 1.2, "")
	}
	return []verdict{trips, guarded, loads, wait, batch}
}

func outageGoals(r *results.Run) []verdict {
	errs := verdict{work: "Redis killed or stalled", goal: "no errors, and an answer to everybody"}
	p50 := verdict{work: errs.work, goal: "p50 at most 0.1 ms over the function's"}
	p99 := verdict{work: errs.work, goal: "p99 at most OpTimeout over the function's"}
	for _, c := range r.Cases("outage") {
		n, ok := r.Median("outage", c, "errors", cachify)
		waiting, _ := r.Median("outage", c, "without answer", cachify)
		errs.most(c, n+waiting, ok, 0, "")
		over := func(metric string) (float64, bool) {
			ours, ok1 := r.Median("outage", c, metric, cachify)
			base, ok2 := r.Median("outage", c, metric, alone)
			return ours - base, ok1 && ok2
		}
		d, ok := over("p50 ms")
		p50.most(c, d, ok, 0.1, " ms")
		d, ok = over("p99 ms")
		p99.most(c, d, ok, opTimeout, " ms")
	}
	return []verdict{errs, p50, p99}
}

func staleGoal(r *results.Run) verdict {
	v := verdict{work: "old value after Reset", goal: "never"}
	sum, n := 0.0, 0
	for _, c := range r.Cases("old value") {
		for _, l := range []string{cachify, cachify + ", near cache"} {
			s, k := r.Sum("old value", c, "stale", l)
			sum, n = sum+s, n+k
		}
	}
	v.most("", sum, n > 0, 0, fmt.Sprintf(" of %d", n))
	return v
}
