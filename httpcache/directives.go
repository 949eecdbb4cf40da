package httpcache

import (
	"net/http"
	"time"
)

// maxDelta is what larger numbers of seconds count as (RFC 9111, section 1.2.2).
const maxDelta = 1 << 31

// A delta is the argument of a directive such as max-age.
type delta struct {
	d   time.Duration
	set bool // the directive is there
	bad bool // but with no argument, one that is no number, or several that differ
}

// parseSeconds reads delta-seconds: digits only. What is too large becomes maxDelta.
func parseSeconds(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = min(10*n+int(s[i]-'0'), maxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// add notes another occurrence of the directive.
func (d *delta) add(m member) {
	v, ok := parseSeconds(m.value)
	if !ok || d.set && v != d.d {
		d.bad = true
	}
	d.d, d.set = v, true
}

// valid returns the argument, and whether there is one that is to be trusted.
func (d delta) valid() (time.Duration, bool) { return d.d, d.set && !d.bad }

// requestDirectives are those of a request's Cache-Control (RFC 9111, section 5.2.1). Malformed elements are left out.
type requestDirectives struct {
	noCache, noStore, onlyIfCached bool
	maxAge, minFresh               delta
	maxStale, staleIfError         delta
	anyStale                       bool // max-stale without an argument
}

func parseRequestDirectives(h http.Header) (d requestDirectives) {
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		d.noCache = pragmaNoCache(h)
		return d
	}
	members, _ := parseList(lines)
	for _, m := range members {
		switch m.name {
		case "no-cache":
			d.noCache = true
		case "no-store":
			d.noStore = true
		case "only-if-cached":
			d.onlyIfCached = true
		case "max-age":
			d.maxAge.add(m)
		case "min-fresh":
			d.minFresh.add(m)
		case "max-stale":
			if m.hasValue {
				d.maxStale.add(m)
			} else {
				d.anyStale = true
			}
		case "stale-if-error":
			d.staleIfError.add(m)
		}
	}
	return d
}

// pragmaNoCache tells of clients of HTTP/1.0, which know no Cache-Control.
func pragmaNoCache(h http.Header) bool {
	if len(h["Pragma"]) == 0 {
		return false
	}
	members, _ := parseList(h["Pragma"])
	for _, m := range members {
		if m.name == "no-cache" {
			return true
		}
	}
	return false
}

// responseDirectives are those of a response's Cache-Control (RFC 9111, section 5.2.2, RFC 5861 and RFC 8246).
type responseDirectives struct {
	present                            bool // any directive at all
	malformed                          bool // some element can't be read: who knows what it forbids
	noStore, noCache, private, public  bool
	mustRevalidate, proxyRevalidate    bool
	mustUnderstand, immutable          bool
	maxAge, sMaxAge                    delta
	staleWhileRevalidate, staleIfError delta
	withheld                           []string // fields named by qualified forms of no-cache and private
}

func parseResponseDirectives(h http.Header) (d responseDirectives) {
	members, ok := parseList(h["Cache-Control"])
	d.malformed = !ok
	d.present = len(members) > 0
	for _, m := range members {
		switch m.name {
		case "no-store":
			d.noStore = true
		case "no-cache":
			d.noCache = d.withhold(m) || d.noCache
		case "private":
			d.private = d.withhold(m) || d.private
		case "public":
			d.public = d.public || !m.hasValue
		case "must-revalidate":
			d.mustRevalidate = true
		case "proxy-revalidate":
			d.proxyRevalidate = true
		case "must-understand":
			d.mustUnderstand = true
		case "immutable":
			d.immutable = true
		case "max-age":
			d.maxAge.add(m)
		case "s-maxage":
			d.sMaxAge.add(m)
		case "stale-while-revalidate":
			d.staleWhileRevalidate.add(m)
		case "stale-if-error":
			d.staleIfError.add(m)
		}
	}
	return d
}

// withhold notes the fields that a qualified form names. It says whether the directive is to be taken as the unqualified
// form, as it is also if the names can't be read.
func (d *responseDirectives) withhold(m member) (unqualified bool) {
	if !m.hasValue {
		return true
	}
	names, ok := parseNames([]string{m.value})
	if !ok || len(names) == 0 {
		return true
	}
	for _, name := range names {
		d.withheld = addOnce(d.withheld, name)
	}
	return false
}

// forbidsStale says whether the response must not be used once it is stale (RFC 9111, section 4.2.4). s-maxage has the
// meaning of proxy-revalidate.
func (d *responseDirectives) forbidsStale() bool {
	return d.mustRevalidate || d.proxyRevalidate || d.noCache || d.sMaxAge.set
}

// sharesAuthorized says whether the response to a request with Authorization may be used for others (RFC 9111, section 3.5).
func (d *responseDirectives) sharesAuthorized() bool {
	return d.public || d.mustRevalidate || d.sMaxAge.set
}

// parseAge reads the Age of an upstream cache: the first member of the first line; 0 if that is no number (RFC 9111,
// section 5.1).
func parseAge(lines []string) time.Duration {
	if len(lines) == 0 {
		return 0
	}
	first := lines[0]
	for i := range len(first) {
		if first[i] == ',' {
			first = first[:i]
			break
		}
	}
	age, _ := parseSeconds(trimOWS(first))
	return age
}
