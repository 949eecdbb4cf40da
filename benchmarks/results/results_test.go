package results

import "testing"

func TestMediansAndRatios(t *testing.T) {
	var r Run
	for i, v := range []float64{10, 20, 40} {
		r.Add("hit", "a", "ns", "raw", v)
		r.Add("hit", "a", "ns", "one", []float64{30, 20, 44}[i]) // ratios 3, 1, 1.1
	}
	r.Add("hit", "b", "ns", "raw", 4)
	r.Add("hit", "b", "ns", "raw", 6)
	check := func(what string, got float64, ok bool, want float64) {
		t.Helper()
		if !ok || got != want {
			t.Errorf("%s: %v, %v, want %v", what, got, ok, want)
		}
	}
	m, ok := r.Median("hit", "a", "ns", "one")
	check("median", m, ok, 30)
	m, ok = r.Median("hit", "b", "ns", "raw")
	check("median of two", m, ok, 5)
	m, ok = r.Ratio("hit", "a", "ns", "one", "raw")
	check("ratio", m, ok, 1.1)
	m, n := r.Sum("hit", "b", "ns", "raw")
	check("sum", m, n == 2, 10)
	if _, ok := r.Ratio("hit", "b", "ns", "one", "raw"); ok {
		t.Error("a ratio of what was not measured")
	}
	path := t.TempDir() + "/r.json"
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	again, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if cases := again.Cases("hit"); len(cases) != 2 || cases[0] != "a" || !again.Has("hit", "one") || again.Has("miss", "one") {
		t.Error(again)
	}
}
