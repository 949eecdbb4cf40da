package exclusion

import (
	"reflect"
	"testing"
)

func TestCrowds(t *testing.T) {
	type spans = []Span
	for name, test := range map[string]struct {
		spans spans
		limit int
		want  [][3]int64 // key, from, to
	}{
		"none":            {nil, 1, nil},
		"one after other": {spans{{Key: 1, From: 1, To: 2}, {Key: 1, From: 3, To: 4}}, 1, nil},
		"other keys":      {spans{{Key: 1, From: 1, To: 5}, {Key: 2, From: 1, To: 5}}, 1, nil},
		"overlap":         {spans{{Key: 1, From: 1, To: 5}, {Key: 1, From: 4, To: 9}}, 1, [][3]int64{{1, 4, 5}}},
		"within":          {spans{{Key: 1, From: 1, To: 9}, {Key: 1, From: 4, To: 5}}, 1, [][3]int64{{1, 4, 5}}},
		"same moment":     {spans{{Key: 1, From: 1, To: 4}, {Key: 1, From: 4, To: 9}}, 1, [][3]int64{{1, 4, 4}}},
		"a moment long":   {spans{{Key: 1, From: 4, To: 4}, {Key: 1, From: 4, To: 4}}, 1, [][3]int64{{1, 4, 4}}},
		"twice":           {spans{{Key: 1, From: 1, To: 9}, {Key: 1, From: 2, To: 3}, {Key: 1, From: 5, To: 6}}, 1, [][3]int64{{1, 2, 3}, {1, 5, 6}}},
		"three":           {spans{{Key: 1, From: 1, To: 9}, {Key: 1, From: 2, To: 8}, {Key: 1, From: 3, To: 7}}, 1, [][3]int64{{1, 2, 8}}},
		"two of two":      {spans{{Key: 1, From: 1, To: 9}, {Key: 1, From: 2, To: 8}, {Key: 1, From: 9, To: 12}}, 2, nil},
		"three of two":    {spans{{Key: 1, From: 1, To: 9}, {Key: 1, From: 2, To: 8}, {Key: 1, From: 7, To: 12}}, 2, [][3]int64{{1, 7, 8}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][3]int64
			for _, c := range Crowds(test.spans, test.limit) {
				got = append(got, [3]int64{int64(c.Key), c.From, c.To})
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
