package exclusion_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/exclusion"
)

// A history is what holders have written down.
type history struct {
	mode     string // of modes
	attempts []exclusion.Attempt
	valid    []exclusion.Span // in which leases said that they were valid
	alive    []exclusion.Span // in which they did so or their context was not done, while the machine let the process run
	all      []exclusion.Span // the same, whether it did or not
	held     []exclusion.Span // until it was released
	waits    []exclusion.Span // while the machine let the process run
	stalls   int
}

// history gives what the processes with that task have written down. At flushes the server has forgotten everything.
func (f *fleet) history(mode string, flushes ...exclusion.Span) *history {
	h := &history{mode: mode}
	for _, p := range f.all {
		if p.task.Mode == mode {
			h.add(p.log.Attempts(p.name), p.log.Stalls(), flushes)
		}
	}
	return h
}

// After a stall a timer may need this time to run.
const grace = 20 * time.Millisecond

// add adds what one process has written down.
func (h *history) add(attempts []exclusion.Attempt, stalls, flushes []exclusion.Span) {
	stalls = exclusion.Joined(stalls, int64(grace))
	var all, waits []exclusion.Span
	for _, a := range attempts {
		end := a.Ended // of the wait
		if a.Got != 0 {
			end = a.Got
			h.valid = append(h.valid, surviving(a, a.Valid, flushes)...)
			all = append(all, surviving(a, a.Alive, flushes)...)
			h.held = append(h.held, a.Spans(a.Got, max(a.Alive, a.Ended))...) // one who was killed has not ended
		}
		if a.Note&exclusion.Waited != 0 && end != 0 {
			waits = append(waits, a.Spans(a.Began, end)...)
		}
	}
	h.all = append(h.all, all...)
	h.alive = append(h.alive, exclusion.Without(all, stalls)...)
	h.waits = append(h.waits, exclusion.Without(waits, stalls)...)
	h.attempts = append(h.attempts, attempts...)
	h.stalls += len(stalls)
}

func surviving(a exclusion.Attempt, to int64, flushes []exclusion.Span) (spans []exclusion.Span) {
	for _, s := range a.Spans(a.Got, to) {
		if rest, ok := exclusion.Surviving(s, a.Began, flushes, int64(ttl)); ok {
			spans = append(spans, rest)
		}
	}
	return spans
}

func (h *history) String() string {
	return fmt.Sprintf("%s: %d holdings in %d attempts, %d lost", h.mode, h.holdings(), len(h.attempts), h.count(exclusion.Lost))
}

func (h *history) holdings() (n int) {
	for _, a := range h.attempts {
		if a.Got != 0 {
			n++
		}
	}
	return n
}

func (h *history) count(note int64) (n int) {
	for _, a := range h.attempts {
		if a.Note&note != 0 {
			n++
		}
	}
	return n
}

// overlaps gives the times at which more than limit held a key.
func (h *history) overlaps(limit int) []exclusion.Crowd {
	return append(exclusion.Crowds(h.valid, limit), exclusion.Crowds(h.alive, limit)...)
}

// check looks for all that must not be in any history of what at most limit may hold.
func (h *history) check(t *testing.T, limit int) {
	t.Helper()
	overlaps := h.overlaps(limit)
	t.Logf("%v; %d overlaps", h, len(overlaps))
	if h.stalls > 0 {
		t.Logf("%d times the machine may have kept a process from ending a context in time; with these times, %d overlaps", h.stalls, len(exclusion.Crowds(h.all, limit)))
	}
	for _, c := range overlaps[:min(len(overlaps), 10)] {
		t.Errorf("more than %d: %v%s", limit, c, h.details(c))
	}
	if n := h.count(exclusion.BadCause); n > 0 {
		t.Errorf("the contexts of %d leases that were lost had another cause than ErrLockLost", n)
	}
}

// details gives what those of a crowd wrote down, in milliseconds since it began.
func (h *history) details(c exclusion.Crowd) string {
	var b strings.Builder
	at := func(t int64) string {
		if t == 0 {
			return "never"
		}
		return fmt.Sprintf("%.2f", float64(t-c.From)/1e6)
	}
	for _, a := range h.attempts {
		if slices.Contains(c.Holders, a.Holder) {
			fmt.Fprintf(&b, "\n\t%s: began %s, got %s, last valid %s, last alive %s, leaves %s, ended %s, fence %d, notes %b",
				a.Holder, at(a.Began), at(a.Got), at(a.Valid), at(a.Alive), at(a.Leaving), at(a.Ended), a.Fence, a.Note)
		}
	}
	return b.String()
}

// checkFences looks whether fencing tokens grow with each holding, the order of which is that of Got, or of those which were over before
// others were asked for, if the server has forgotten who holds what.
func (h *history) checkFences(t *testing.T, forgotten bool) {
	t.Helper()
	var tokens []exclusion.Token
	for _, a := range h.attempts {
		if !forgotten {
			a.Asked, a.Had = a.Got, a.Got
		}
		tokens = append(tokens, a.Tokens()...)
	}
	bad := exclusion.Disorder(tokens)
	t.Logf("%d fencing tokens, %d not greater than one before", len(tokens), len(bad))
	for _, token := range bad[:min(len(bad), 10)] {
		t.Error(token)
	}
	if len(tokens) == 0 {
		t.Error("no fencing token was seen")
	}
}

// checkWaits looks for how long anybody had to wait for what was not held.
func (h *history) checkWaits(t *testing.T, limit int, patience time.Duration) {
	t.Helper()
	longest := exclusion.LongestIdle(h.waits, h.held, limit)
	t.Logf("%s: waited for at most %v while it was free, in %d waits", h.mode, longest.Duration().Round(time.Millisecond), h.count(exclusion.Waited))
	if longest.Duration() > patience {
		t.Errorf("%s, key %d: %s waited for %v while it was free", h.mode, longest.Key, longest.Holder, longest.Duration())
	}
}
