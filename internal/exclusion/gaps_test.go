package exclusion

import (
	"reflect"
	"testing"
)

func TestWithout(t *testing.T) {
	gaps := []Span{{From: 10, To: 20}, {From: 30, To: 40}}
	for name, test := range map[string]struct {
		from, to int64
		want     [][2]int64
	}{
		"apart":        {1, 5, [][2]int64{{1, 5}}},
		"at the edges": {20, 30, [][2]int64{{20, 30}}},
		"begins":       {15, 25, [][2]int64{{20, 25}}},
		"ends":         {25, 35, [][2]int64{{25, 30}}},
		"around":       {5, 45, [][2]int64{{5, 10}, {20, 30}, {40, 45}}},
		"within":       {12, 18, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][2]int64
			for _, s := range Without([]Span{{From: test.from, To: test.to}}, gaps) {
				got = append(got, [2]int64{s.From, s.To})
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestJoined(t *testing.T) {
	type spans = []Span
	for name, test := range map[string]struct{ spans, want spans }{
		"none":         {nil, nil},
		"apart":        {spans{{From: 1, To: 2}, {From: 9, To: 10}}, spans{{From: 1, To: 5}, {From: 9, To: 13}}},
		"near":         {spans{{From: 1, To: 2}, {From: 5, To: 6}}, spans{{From: 1, To: 9}}},
		"within":       {spans{{From: 1, To: 9}, {From: 2, To: 3}}, spans{{From: 1, To: 12}}},
		"out of order": {spans{{From: 9, To: 10}, {From: 1, To: 2}}, spans{{From: 1, To: 5}, {From: 9, To: 13}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Joined(test.spans, 3); !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestLongestIdle(t *testing.T) {
	type spans = []Span
	for name, test := range map[string]struct {
		waits, holdings spans
		limit           int
		want            int64
	}{
		"nobody waits":     {nil, spans{{From: 1, To: 5}}, 1, 0},
		"held throughout":  {spans{{From: 2, To: 4}}, spans{{From: 1, To: 5}}, 1, 0},
		"never held":       {spans{{From: 2, To: 9}}, nil, 1, 7},
		"held by others":   {spans{{From: 2, To: 9}}, spans{{From: 1, To: 4}, {From: 7, To: 9}}, 1, 3},
		"of another key":   {spans{{From: 2, To: 9}}, spans{{Key: 1, From: 1, To: 9}}, 1, 7},
		"the longest wait": {spans{{From: 2, To: 3}, {From: 2, To: 5}}, nil, 1, 3},
		"a slot is free":   {spans{{From: 2, To: 9}}, spans{{From: 1, To: 9}, {From: 1, To: 4}}, 2, 5},
	} {
		t.Run(name, func(t *testing.T) {
			if got := LongestIdle(test.waits, test.holdings, test.limit); int64(got.Duration()) != test.want {
				t.Errorf("got %v, want %d", got, test.want)
			}
		})
	}
}

func TestSurviving(t *testing.T) {
	flushes := []Span{{Key: 7, From: 10, To: 300}, {Key: Everything, From: 100, To: 110}, {Key: 1, From: 200, To: 210}}
	const ttl = 20
	for name, test := range map[string]struct {
		began, from, to int64
		want            [2]int64 // 0, 0: nothing
	}{
		"before":                 {50, 60, 90, [2]int64{60, 90}},
		"held at a flush":        {50, 60, 150, [2]int64{60, 100}},
		"got while it went on":   {50, 105, 150, [2]int64{}},
		"perhaps taken before":   {109, 119, 150, [2]int64{}},
		"waited for long":        {50, 121, 150, [2]int64{121, 150}},
		"asked for after":        {111, 112, 150, [2]int64{112, 150}},
		"held at the second":     {111, 112, 250, [2]int64{112, 200}},
		"held at both":           {50, 60, 250, [2]int64{60, 100}},
		"between the two, early": {50, 121, 199, [2]int64{121, 199}},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := Surviving(Span{Key: 1, From: test.from, To: test.to}, test.began, flushes, ttl)
			if [2]int64{got.From, got.To} != test.want || ok != (test.want[1] != 0) {
				t.Errorf("got %v, %v, want %v", got, ok, test.want)
			}
		})
	}
}
