// Command page makes docs/benchmarks.md and its charts of what a run of the benchmark against the peers has saved. Run it in benchmarks/.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-cachify/cachify/benchmarks/results"
)

const (
	begin = "<!-- figures: made by scripts/benchmarks.sh, do not edit -->"
	end   = "<!-- end of the figures -->"
)

func main() {
	run := flag.String("run", "../docs/benchmarks/run.json", "what the run has saved")
	docs := flag.String("docs", "../docs", "folder of benchmarks.md")
	module := flag.String("mod", "go.mod", "names the versions of the libraries")
	flag.Parse()
	if err := write(*run, *docs, *module); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func write(run, docs, module string) error {
	r, err := results.Load(run)
	if err != nil {
		return err
	}
	mod, err := os.ReadFile(module)
	if err != nil {
		return err
	}
	path := filepath.Join(docs, "benchmarks.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	page, err := replace(string(text), figures(r, string(mod)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, c := range charts {
		if err := os.WriteFile(filepath.Join(docs, "benchmarks", c.file), []byte(c.draw(r)), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(path, []byte(page), 0o644)
}

// replace puts the figures between the markers.
func replace(page, figures string) (string, error) {
	before, rest, ok1 := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return "", fmt.Errorf("it must have a line %q and after it a line %q", begin, end)
	}
	return before + begin + "\n\n" + figures + "\n" + end + after, nil
}

// version is what a go.mod requires of a module.
func version(mod, module string) string {
	for line := range strings.Lines(mod) {
		fields := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(fields) >= 2 && fields[0] == module && fields[1] != "v0.0.0" {
			return fields[1]
		}
	}
	return "this repository"
}
