package httpcache

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

// What an entry is.
type kind byte

const (
	isAnswer  kind = 1 + iota
	isPass         // answers of this key are not to be shared for now, so nobody waits for one (hit-for-miss)
	isFailing      // a revalidation met an error of the server
	isRenewed      // a revalidation is done: the answer is where the old one was
)

// An entry is what the store holds for a key. It is shared by requests, so nobody changes it.
type entry struct {
	kind   kind
	id     uint64 // tells one answer from the next at its key
	status int

	// Freshness, by the terms of RFC 9111, section 4.2.3.
	made                 time.Time     // response_time, to the microsecond
	initialAge           time.Duration // corrected_initial_age
	lifetime             time.Duration
	staleWhileRevalidate time.Duration
	staleIfError         time.Duration

	clientFor time.Duration // how long clients may keep it, with clientTTL

	entryFlags

	vary     []string // the request headers that answers of the URL depend on, sorted
	selector selector // what the request had for them

	header []field
	body   []byte
}

type entryFlags struct {
	mustValidate bool // no-cache: never used without the handler's word
	noStale      bool // never used when stale
	immutable    bool // RFC 8246
	implicit     bool // stored for Options.TTL alone, without a word of the handler
	authorized   bool // may be used for requests with Authorization
	madeETag     bool // the ETag is the cache's, and so no validator for the handler
	clientTTL    bool // the handler said nothing of that, so clients are told what clientFor says
}

// A field is a header of an answer that the handler has set. Those of outer middlewares are every request's own.
type field struct {
	name   string
	values []string // none: the handler wants it not to be there
	add    bool     // after those that outer middlewares have set; else in their place
}

func newID() uint64 { return rand.Uint64() }

// micro drops from t what the stored form does not hold.
func micro(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()) }

// age is current_age. Nothing is older than a century, whatever the store says.
func (e *entry) age(now time.Time) time.Duration {
	const century = 100 * 365 * OneDay
	return e.initialAge + min(max(0, now.Sub(e.made)), century)
}

// left is for how long the entry is fresh; for stale ones it is negative.
func (e *entry) left(now time.Time) time.Duration { return e.lifetime - e.age(now) }

// selects says whether the entry is for requests like r.
func (e *entry) selects(r *http.Request) bool {
	return len(e.vary) == 0 || e.selector == selectorOf(e.vary, r)
}

// get returns the values of a header that the handler has set.
func (e *entry) get(name string) []string {
	for i := range e.header {
		if e.header[i].name == name {
			return e.header[i].values
		}
	}
	return nil
}

// validators gives the headers of a conditional request by which the handler can say that the entry is still good.
func (e *entry) validators() http.Header {
	h := http.Header{}
	if etags := e.get("Etag"); len(etags) == 1 && !e.madeETag {
		h["If-None-Match"] = etags
	}
	if modified := e.get("Last-Modified"); len(modified) == 1 {
		h["If-Modified-Since"] = modified
	}
	return h
}

func (e *entry) hasValidator() bool {
	return len(e.get("Last-Modified")) == 1 || !e.madeETag && len(e.get("Etag")) == 1
}

// keepFor is how long the entry is to stay in the store.
func (e *entry) keepFor(keep time.Duration) time.Duration {
	after := max(e.staleWhileRevalidate, e.staleIfError)
	if e.hasValidator() || len(e.vary) > 0 {
		after = max(after, keep)
	}
	return max(0, e.lifetime-e.initialAge) + after
}

// writeHeader sets what the handler has set in h, where the outer middlewares of this request have set theirs.
func (e *entry) writeHeader(h http.Header) {
	for i := range e.header {
		f := &e.header[i]
		switch {
		case len(f.values) == 0:
			h[f.name] = nil // also keeps net/http from setting it
		case f.add && len(h[f.name]) > 0:
			h[f.name] = slices.Concat(h[f.name], f.values)
		default:
			h[f.name] = slices.Clip(f.values) // whoever appends to it must not write into the entry
		}
	}
}
