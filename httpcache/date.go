package httpcache

import (
	"strings"
	"time"
)

// parseDate reads an HTTP-date in one of its three formats (RFC 9110, section 5.6.7): digit by digit, the names of days,
// months and the zone in any case, as RFC 9111, section 4.2, asks for, and no zone but GMT. [net/http.ParseTime] takes
// much more. now resolves the two-digit years of RFC 850.
func parseDate(s string, now time.Time) (time.Time, bool) {
	switch {
	case len(s) == len("Sun, 06 Nov 1994 08:49:37 GMT") && s[3] == ',':
		return parseIMFDate(s)
	case strings.IndexByte(s, ',') > 3:
		return parseRFC850Date(s, now)
	case len(s) == len("Sun Nov  6 08:49:37 1994"):
		return parseAsctimeDate(s)
	}
	return time.Time{}, false
}

// A dateReader reads a date from left to right, and remembers whether anything did not fit.
type dateReader struct {
	rest string
	bad  bool
}

func (r *dateReader) take(n int) string {
	if len(r.rest) < n {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *dateReader) text(want string) {
	if !strings.EqualFold(r.take(len(want)), want) {
		r.bad = true
	}
}

func (r *dateReader) number(digits int) (n int) {
	for _, c := range []byte(r.take(digits)) {
		if c < '0' || c > '9' {
			r.bad = true
		}
		n = 10*n + int(c-'0')
	}
	return n
}

// name reads one of names by its first letters, at most max, and gives its index.
func (r *dateReader) name(max int, names func(int) string, count int) int {
	for i := range count {
		name := names(i)
		name = name[:min(max, len(name))]
		if len(r.rest) >= len(name) && strings.EqualFold(r.rest[:len(name)], name) {
			r.rest = r.rest[len(name):]
			return i
		}
	}
	r.bad = true
	return 0
}

func (r *dateReader) weekday(max int) {
	r.name(max, func(i int) string { return time.Weekday(i).String() }, 7)
}

func (r *dateReader) month() time.Month {
	return time.Month(1 + r.name(3, func(i int) string { return time.Month(i + 1).String() }, 12))
}

func (r *dateReader) clock() (hour, minute, second int) {
	hour = r.number(2)
	r.text(":")
	minute = r.number(2)
	r.text(":")
	return hour, minute, r.number(2)
}

// date gives the time if all of the text was read and stands for a time that exists. A leap second is the second before it.
func (r *dateReader) date(year int, month time.Month, day, hour, minute, second int) (time.Time, bool) {
	if r.bad || r.rest != "" || hour > 23 || minute > 59 || second > 60 {
		return time.Time{}, false
	}
	t := time.Date(year, month, day, hour, minute, min(second, 59), 0, time.UTC)
	return t, t.Day() == day && t.Month() == month
}

// parseIMFDate reads "Sun, 06 Nov 1994 08:49:37 GMT".
func parseIMFDate(s string) (time.Time, bool) {
	r := dateReader{rest: s}
	r.weekday(3)
	r.text(", ")
	day := r.number(2)
	r.text(" ")
	month := r.month()
	r.text(" ")
	year := r.number(4)
	r.text(" ")
	hour, minute, second := r.clock()
	r.text(" GMT")
	return r.date(year, month, day, hour, minute, second)
}

// parseRFC850Date reads "Sunday, 06-Nov-94 08:49:37 GMT". A year more than 50 years ahead is one of the past.
func parseRFC850Date(s string, now time.Time) (time.Time, bool) {
	r := dateReader{rest: s}
	r.weekday(len("Wednesday"))
	r.text(", ")
	day := r.number(2)
	r.text("-")
	month := r.month()
	r.text("-")
	year := r.number(2)
	r.text(" ")
	hour, minute, second := r.clock()
	r.text(" GMT")
	now = now.UTC()
	year += now.Year() / 100 * 100
	t, ok := r.date(year, month, day, hour, minute, second)
	switch limit := now.AddDate(50, 0, 0); {
	case !ok:
		return t, false
	case t.After(limit):
		year -= 100
	case !t.AddDate(100, 0, 0).After(limit):
		year += 100
	}
	return r.date(year, month, day, hour, minute, second)
}

// parseAsctimeDate reads "Sun Nov  6 08:49:37 1994".
func parseAsctimeDate(s string) (time.Time, bool) {
	r := dateReader{rest: s}
	r.weekday(3)
	r.text(" ")
	month := r.month()
	r.text(" ")
	day := 0
	if strings.HasPrefix(r.rest, " ") {
		r.take(1)
		day = r.number(1)
	} else {
		day = r.number(2)
	}
	r.text(" ")
	hour, minute, second := r.clock()
	r.text(" ")
	year := r.number(4)
	return r.date(year, month, day, hour, minute, second)
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }
