package exclusion

import (
	"slices"
	"testing"
)

func TestDisorder(t *testing.T) {
	type tokens = []Token
	for name, test := range map[string]struct {
		tokens tokens
		want   []int64 // the fences that are wrong
	}{
		"none":             {nil, nil},
		"growing":          {tokens{{Asked: 1, Had: 1, Fence: 5}, {Asked: 2, Had: 2, Fence: 9}}, nil},
		"shrinking":        {tokens{{Asked: 1, Had: 1, Fence: 9}, {Asked: 2, Had: 2, Fence: 5}}, []int64{5}},
		"in another order": {tokens{{Asked: 2, Had: 2, Fence: 5}, {Asked: 1, Had: 1, Fence: 9}}, []int64{5}},
		"the same":         {tokens{{Asked: 1, Had: 1, Fence: 5}, {Asked: 2, Had: 2, Fence: 5}}, []int64{5}},
		"the same at once": {tokens{{Asked: 1, Had: 3, Fence: 5}, {Asked: 2, Had: 4, Fence: 5}}, []int64{5}},
		"at once":          {tokens{{Asked: 1, Had: 3, Fence: 9}, {Asked: 2, Had: 4, Fence: 5}}, nil},
		"after a long one": {tokens{{Asked: 1, Had: 9, Fence: 4}, {Asked: 2, Had: 3, Fence: 5}, {Asked: 4, Had: 5, Fence: 3}}, []int64{3}},
		"other keys":       {tokens{{Key: 1, Asked: 1, Had: 1, Fence: 9}, {Key: 2, Asked: 2, Had: 2, Fence: 9}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int64
			for _, token := range Disorder(test.tokens) {
				got = append(got, token.Fence)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
