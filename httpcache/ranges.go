package httpcache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What a Range asks for.
type rangeKind int

const (
	wholeRange         rangeKind = iota // everything: no range, several, or none that can be read
	partRange                           // one part
	unsatisfiableRange                  // a part that is not there
)

// parseRange reads a Range of one part in bytes (RFC 9110, section 14.1.2) of a content of the given size. Several parts get the
// whole, which is always allowed.
func parseRange(lines []string, size int) (kind rangeKind, start, length int) {
	if len(lines) != 1 {
		return wholeRange, 0, 0
	}
	unit, set, ok := strings.Cut(lines[0], "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return wholeRange, 0, 0
	}
	first, last, ok := strings.Cut(trimOWS(set), "-")
	if !ok {
		return wholeRange, 0, 0
	}
	if first == "" {
		n, ok := parsePosition(last)
		switch {
		case !ok:
			return wholeRange, 0, 0
		case n == 0 || size == 0:
			return unsatisfiableRange, 0, 0
		}
		n = min(n, size)
		return partRange, size - n, n
	}
	from, ok := parsePosition(first)
	to := size - 1
	if ok && last != "" {
		to, ok = parsePosition(last)
		if ok && to < from {
			ok = false
		}
		to = min(to, size-1)
	}
	switch {
	case !ok:
		return wholeRange, 0, 0
	case from >= size:
		return unsatisfiableRange, 0, 0
	}
	return partRange, from, to - from + 1
}

// parsePosition reads digits. What is too large for any content is as large as can be.
func parsePosition(s string) (int, bool) {
	const huge = 1 << 62
	if s == "" {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		if n = 10*n + int(s[i]-'0'); n > huge/16 {
			n = huge / 16
		}
	}
	return n, true
}

// rangeApplies says whether If-Range lets the Range be used: it is not there, or names the very answer with the header h, by the
// strong comparison (RFC 9110, section 13.1.5).
func rangeApplies(r *http.Request, h http.Header, received time.Time) bool {
	lines := r.Header["If-Range"]
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	if tag, rest, ok := parseETag(lines[0]); ok {
		have, has := wholeETag(h)
		return rest == "" && has && !tag.weak && !have.weak && tag.opaque == have.opaque
	}
	modified := h["Last-Modified"]
	if len(modified) != 1 || modified[0] != lines[0] {
		return false
	}
	// A date is strong if the content can't have changed twice in its second.
	date, made := received, time.Time{}
	if dates := h["Date"]; len(dates) == 1 {
		if t, ok := parseDate(dates[0], received); ok {
			date = t
		}
	}
	made, ok := parseDate(modified[0], received)
	return ok && date.Sub(made) >= time.Second
}

func contentRange(start, length, size int) string {
	return "bytes " + strconv.Itoa(start) + "-" + strconv.Itoa(start+length-1) + "/" + strconv.Itoa(size)
}
