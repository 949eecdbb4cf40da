// Package results is what a run of the benchmark against the peers hands to the program that draws its page.
package results

import (
	"encoding/json"
	"os"
	"slices"
)

// A Run is one run of all works, on one machine.
type Run struct {
	Go, Redis string // versions
	System    string // operating system and architecture
	Cores     int
	Rounds    int // of each timed work
	Libraries []Library
	Figures   []Figure
}

// A Library is one side of the comparison.
type Library struct {
	Name   string
	Module string // its path, empty for what is no library
	How    string // how it was used
}

// A Figure is one quantity of one library, as often as it was measured. Figures of the same round were measured side by side.
type Figure struct {
	Work    string // such as "hit"
	Case    string // such as "200 B, 64 goroutines"
	Metric  string // such as "ns"
	Library string
	Values  []float64
}

// Add appends a value to the figure, which it makes if it is new.
func (r *Run) Add(work, kase, metric, library string, value float64) {
	f := r.figure(work, kase, metric, library)
	if f == nil {
		r.Figures = append(r.Figures, Figure{Work: work, Case: kase, Metric: metric, Library: library})
		f = &r.Figures[len(r.Figures)-1]
	}
	f.Values = append(f.Values, value)
}

func (r *Run) figure(work, kase, metric, library string) *Figure {
	for i := range r.Figures {
		if f := &r.Figures[i]; f.Work == work && f.Case == kase && f.Metric == metric && f.Library == library {
			return f
		}
	}
	return nil
}

// Median is the median of a figure. It says whether there is one.
func (r *Run) Median(work, kase, metric, library string) (float64, bool) {
	f := r.figure(work, kase, metric, library)
	if f == nil || len(f.Values) == 0 {
		return 0, false
	}
	return median(f.Values), true
}

// Ratio is the median over the rounds of what a library took as a multiple of what another took in the same round.
func (r *Run) Ratio(work, kase, metric, library, base string) (float64, bool) {
	f, b := r.figure(work, kase, metric, library), r.figure(work, kase, metric, base)
	if f == nil || b == nil || len(f.Values) == 0 || len(f.Values) != len(b.Values) {
		return 0, false
	}
	ratios := make([]float64, len(f.Values))
	for i, v := range f.Values {
		if b.Values[i] == 0 {
			return 0, false
		}
		ratios[i] = v / b.Values[i]
	}
	return median(ratios), true
}

// Sum adds up the values of a figure, and says how many there are.
func (r *Run) Sum(work, kase, metric, library string) (sum float64, n int) {
	f := r.figure(work, kase, metric, library)
	if f == nil {
		return 0, 0
	}
	for _, v := range f.Values {
		sum += v
	}
	return sum, len(f.Values)
}

// Cases are the cases of a work in the order in which they were measured.
func (r *Run) Cases(work string) (cases []string) {
	for _, f := range r.Figures {
		if f.Work == work && !slices.Contains(cases, f.Case) {
			cases = append(cases, f.Case)
		}
	}
	return cases
}

// Has says whether a library has any figure of a work.
func (r *Run) Has(work, library string) bool {
	return slices.ContainsFunc(r.Figures, func(f Figure) bool { return f.Work == work && f.Library == library })
}

// Save writes the run as JSON.
func (r *Run) Save(path string) error {
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// Load reads what Save has written.
func Load(path string) (*Run, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Run)
	return r, json.Unmarshal(data, r)
}

func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
