package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-cachify/cachify/benchmarks/results"
)

func sample() *results.Run {
	r := &results.Run{Go: "go1.26", Redis: "7.0.15", System: "linux/amd64", Cores: 2, Rounds: 3}
	for _, name := range []string{goRedis, rueidis, "sturdyc", cachify} {
		r.Libraries = append(r.Libraries, results.Library{Name: name, Module: "example.com/" + name, How: "with care"})
	}
	for _, ns := range []float64{1, 1.1, 0.9} {
		r.Add("hit", "200 B, 1 goroutine", "ns", goRedis, 50_000*ns)
		r.Add("hit", "200 B, 1 goroutine", "ns", cachify, 52_000*ns)
		r.Add("hit", "200 B, 64 goroutines", "ns", goRedis, 20_000*ns)
		r.Add("hit", "200 B, 64 goroutines", "ns", rueidis, 5_000*ns)
		r.Add("hit", "200 B, 64 goroutines", "ns", cachify, 10_000*ns)
	}
	for i := range 10 {
		r.Add("old value", "two overlapping fills", "stale", "sturdyc", float64(i%2))
		r.Add("old value", "two overlapping fills", "stale", cachify, 0)
	}
	return r
}

func TestGoalsAndTables(t *testing.T) {
	page := figures(sample(), "require (\n\texample.com/sturdyc v1.2.3 // indirect\n)\n")
	for _, want := range []string{
		"| hit in Redis, 1 goroutine | at most 1.10 times the time of go-redis and decoding | 200 B, 1 goroutine: 1.04 | reached |",
		"| hit in Redis, more goroutines | at least 2.5 times as fast as go-redis | 200 B, 64 goroutines: 2 | **missed** |",
		"| hit in Redis, more goroutines | at least as fast as rueidis | 200 B, 64 goroutines: 0.50 | **missed** |",
		"| miss and fill | faster than rockscache and rueidisaside | – | not measured |",
		"| old value after Reset | never | 0 of 10 | reached |",
		"| rueidis | – | 5 µs (0.25) |",
		"| sturdyc | 5 of 10 |",
		"| sturdyc | v1.2.3 | with care |",
		"| cachify | this repository | with care |",
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no line %q in\n%s", want, page)
		}
	}
}

func TestWrite(t *testing.T) {
	docs := t.TempDir()
	page, run, mod := filepath.Join(docs, "benchmarks.md"), filepath.Join(docs, "run.json"), filepath.Join(docs, "go.mod")
	for _, err := range []error{
		os.Mkdir(filepath.Join(docs, "benchmarks"), 0o755), sample().Save(run), os.WriteFile(mod, nil, 0o644),
		os.WriteFile(page, []byte("before\n"+begin+"\nold\n"+end+"\nafter\n"), 0o644),
		write(run, docs, mod), write(run, docs, mod), // twice, to see that it replaces its own
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(page)
	if s := string(text); err != nil || !strings.HasPrefix(s, "before\n"+begin) || !strings.HasSuffix(s, end+"\nafter\n") || strings.Contains(s, "old\n") || strings.Count(s, "### Stampede") != 1 {
		t.Errorf("%v\n%s", err, s)
	}
	for _, c := range charts {
		svg, err := os.ReadFile(filepath.Join(docs, "benchmarks", c.file))
		if err != nil {
			t.Fatal(err)
		}
		d := xml.NewDecoder(strings.NewReader(string(svg)))
		for err == nil {
			_, err = d.Token()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", c.file, err)
		}
		if bars := strings.Count(string(svg), "<rect"); c.work == "hit" && bars != 5 {
			t.Errorf("%d bars", bars)
		}
	}
	if _, err := replace("no markers", ""); err == nil {
		t.Error("a page without markers was taken")
	}
}
