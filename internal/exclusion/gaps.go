package exclusion

import (
	"cmp"
	"slices"
)

// Joined gives spans in the order of time, each made longer at its end, as one where they then overlap, whatever their keys.
func Joined(spans []Span, longer int64) (joined []Span) {
	for _, s := range slices.SortedFunc(slices.Values(spans), func(a, b Span) int { return cmp.Compare(a.From, b.From) }) {
		s.To += longer
		if n := len(joined); n > 0 && s.From <= joined[n-1].To {
			joined[n-1].To = max(joined[n-1].To, s.To)
		} else {
			joined = append(joined, s)
		}
	}
	return joined
}

// Without gives what is left of spans without the times of gaps, whatever their keys. Gaps are in the order of time and do
// not overlap.
func Without(spans, gaps []Span) (rest []Span) {
	for _, s := range spans {
		first, _ := slices.BinarySearchFunc(gaps, s.From, func(gap Span, from int64) int {
			if gap.To <= from {
				return -1
			}
			return 1
		})
		for _, gap := range gaps[first:] {
			if gap.From >= s.To {
				break
			}
			if gap.From > s.From {
				before := s
				before.To = gap.From
				rest = append(rest, before)
			}
			s.From = gap.To
		}
		if s.From <= s.To {
			rest = append(rest, s)
		}
	}
	return rest
}

// LongestIdle gives the longest part of one of waits in which fewer than limit of holdings had the key that was waited for.
func LongestIdle(waits, holdings []Span, limit int) (longest Span) {
	held, waiting := byKey(holdings), byKey(waits)
	for key, waits := range waiting {
		var full []Span
		for _, c := range crowdsOfOne(held[key], limit-1) {
			full = append(full, Span{From: c.From, To: c.To})
		}
		for _, idle := range Without(waits, full) {
			if idle.Duration() > longest.Duration() {
				longest = idle
			}
		}
	}
	return longest
}

// Everything is the key of a flush of all keys.
const Everything = -1

// Hits says whether a flush is of that key.
func (s Span) Hits(key int) bool { return s.Key == Everything || s.Key == key }

// Surviving gives what is left of a holding that began to be asked for at the time began, after the server has forgotten keys
// at flushes: it excludes others no longer after the first of them that may have found it there. ttl is the longest time
// for which a holder believes in a lock that was not confirmed since.
func Surviving(s Span, began int64, flushes []Span, ttl int64) (rest Span, ok bool) {
	for _, flush := range flushes {
		mayHaveBeen := began <= flush.To && s.From <= flush.From+ttl
		if !mayHaveBeen || s.To < flush.From || !flush.Hits(s.Key) {
			continue
		}
		if s.From >= flush.From { // it can't be told whether it was there before
			return Span{}, false
		}
		s.To = flush.From
	}
	return s, true
}
