package httpcache

import (
	"net/http"
	"strconv"
	"time"
)

// serveStored answers r from an entry, as the handler would have, evaluating the preconditions and the range of r.
func (o *Options) serveStored(w http.ResponseWriter, r *http.Request, e *entry, now time.Time, s how) {
	h := w.Header()
	e.writeHeader(h)
	age := e.age(now)
	h["Age"] = []string{strconv.FormatInt(floorSeconds(age), 10)}
	if e.clientTTL {
		o.tellClients(h, e.made, age, min(e.clientFor, e.left(now)))
	}
	s.hasTTL, s.ttl, s.hit = true, e.left(now), true
	o.tell(h, s)
	if e.status != http.StatusOK {
		o.writeBody(w, r, e.status, e.body)
		return
	}
	if notModified(r, h, e.made) {
		toNotModified(h)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	o.writeRange(w, r, e)
}

func (o *Options) writeRange(w http.ResponseWriter, r *http.Request, e *entry) {
	h := w.Header()
	kind, start, length := wholeRange, 0, 0
	if ranges := r.Header["Range"]; len(ranges) > 0 && r.Method == http.MethodGet && rangeApplies(r, h, e.made) {
		kind, start, length = parseRange(ranges, len(e.body))
	}
	switch kind {
	case partRange:
		h["Content-Range"] = []string{contentRange(start, length, len(e.body))}
		o.writeBody(w, r, http.StatusPartialContent, e.body[start:start+length])
	case unsatisfiableRange:
		toNotModified(h)
		h["Content-Range"] = []string{"bytes */" + strconv.Itoa(len(e.body))}
		o.writeBody(w, r, http.StatusRequestedRangeNotSatisfiable, nil)
	default:
		o.writeBody(w, r, http.StatusOK, e.body)
	}
}

func (o *Options) writeBody(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // an error is the client's going away
	}
}

// tellClients sets what clients are told of an answer about which the handler said nothing: they may keep it for ttl from now.
// Age, which they get too, counts against max-age.
func (o *Options) tellClients(h http.Header, made time.Time, age, ttl time.Duration) {
	if len(h["Cache-Control"]) > 0 || len(h["Expires"]) > 0 {
		return // an outer middleware has said something
	}
	until := made
	if ttl > 0 {
		seconds := floorSeconds(age + ttl)
		h["Cache-Control"] = []string{"max-age=" + strconv.FormatInt(seconds, 10)}
		until = made.Add(time.Duration(seconds) * time.Second)
	} else {
		h["Cache-Control"] = []string{"no-cache"}
	}
	h["Expires"] = []string{httpDate(until)}
}

// completeFreshness adds the one of Cache-Control and Expires that the handler has left out, to the same effect.
func completeFreshness(h http.Header, now time.Time) {
	cc := parseResponseDirectives(h)
	if !cc.present {
		res := response{header: h, now: now}
		seconds := floorSeconds(expiresIn(h["Expires"], &res))
		h["Cache-Control"] = []string{"max-age=" + strconv.FormatInt(seconds, 10)}
		return
	}
	if len(h["Expires"]) > 0 {
		return
	}
	until := now
	if dates := h["Date"]; len(dates) > 0 {
		if t, ok := parseDate(dates[0], now); ok {
			until = t
		}
	}
	if !cc.noCache {
		until = until.Add(cc.maxAge.fresh())
	}
	h["Expires"] = []string{httpDate(until)}
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
