package exclusion

import (
	"cmp"
	"fmt"
	"slices"
)

// A Token is a fencing token of one holding. It was asked for not before Asked, and had at Had.
type Token struct {
	Key               int
	Asked, Had, Fence int64
	Holder            string
}

func (t Token) String() string { return fmt.Sprintf("key %d: %s got %d", t.Key, t.Holder, t.Fence) }

// Disorder gives the tokens that are not greater than all those of the same key that somebody had before they were asked for, or
// that another holding has too.
func Disorder(tokens []Token) (bad []Token) {
	keys := map[int][]Token{}
	for _, t := range tokens {
		keys[t.Key] = append(keys[t.Key], t)
	}
	for _, some := range keys {
		bad = append(bad, disorderOfOne(some)...)
	}
	return bad
}

func disorderOfOne(tokens []Token) (bad []Token) {
	slices.SortFunc(tokens, func(a, b Token) int { return cmp.Compare(a.Asked, b.Asked) })
	had := slices.SortedFunc(slices.Values(tokens), func(a, b Token) int { return cmp.Compare(a.Had, b.Had) })
	given := map[int64]bool{}
	var last int64
	for _, t := range tokens {
		for had[0].Had < t.Asked { // t itself is always left
			last = max(last, had[0].Fence)
			had = had[1:]
		}
		if t.Fence <= last || given[t.Fence] {
			bad = append(bad, t)
		}
		given[t.Fence] = true
	}
	return bad
}
