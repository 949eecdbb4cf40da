package httpcache

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// How long keys are remembered whose answers are not to be shared, and those that were answered by an error.
const (
	passFor    = 5 * time.Second
	failingFor = time.Second
)

var (
	// errLost is the outcome of a run that came to no end: a panic, a client that went away. Somebody else may have more luck.
	errLost = errors.New("cachify: httpcache: the handler came to no end")

	// errAsker is the outcome of a run whose answer is not to be shared because of who asked.
	errAsker = errors.New("cachify: httpcache: the answer is for one client only")
)

// An outcome is what a run of the handler has to give to others.
type outcome struct {
	entry *entry
	ttl   time.Duration // of the entry in the store
	tags  []string
	leave bool // the store is to be left as it is
	err   error
}

// A run calls the handler for an answer that may be stored.
type run struct {
	x       *exchange
	at      place
	base    *entry // the stale answer that is revalidated; nil: none
	leave   bool   // what is in the store is not to be replaced by less than an answer
	fwd     string // why
	deliver func(outcome)

	handling  handling
	rec       recorder
	outer     http.Header // what w's header was before the handler
	began     time.Time
	verdict   verdict
	validates bool // the handler was asked whether base is still good
	delivered atomic.Bool
	slow      *time.Timer

	renewed bool // the handler said that base is still good
	failed  bool // the handler has failed, and base is good enough
}

// do runs the handler in this goroutine and answers the client. Panics go on their way, after the others have been told.
func (u *run) do() {
	x := u.x
	u.outer = x.w.Header().Clone()
	u.began = time.Now()
	u.handling = x.newHandling()
	u.rec = recorder{w: x.w, decide: u.decide, complete: u.complete, overflow: u.refuse, gone: x.r.Context()}
	r := u.request()
	finished := false
	defer func() { u.end(finished) }()
	x.next.ServeHTTP(&u.rec, r)
	x.r.Pattern = r.Pattern // for middlewares that look at it afterwards
	u.finish()
	finished = true
}

// end tells those who wait if nobody has told them yet.
func (u *run) end(finished bool) {
	u.rec.retire(finished)
	if u.slow != nil {
		u.slow.Stop()
	}
	u.tell(outcome{err: errLost})
}

func (u *run) tell(out outcome) {
	if u.delivered.CompareAndSwap(false, true) {
		u.deliver(out)
	}
}

// refuse tells those who wait that there will be nothing for them.
func (u *run) refuse() { u.tell(u.refusal()) }

func (u *run) refusal() outcome {
	if u.verdict.asker && !u.verdict.store {
		return outcome{err: errAsker}
	}
	e := &entry{kind: isPass, id: newID()}
	ttl := passFor
	if u.rec.status >= 400 {
		ttl = failingFor
	}
	if u.base != nil && isServerError(u.rec.status) {
		e.kind = isFailing
	}
	return outcome{entry: e, ttl: ttl, leave: u.leave}
}

// request is the one for the handler. What the client knows already the cache finds out for itself, so the handler is asked for the
// whole, or whether base is still good. Parameters that are not in the key must not be in the answer.
func (u *run) request() *http.Request {
	r := u.x.r
	out := r.WithContext(context.WithValue(r.Context(), handlingKey{}, &u.handling))
	if o := &u.x.c.opts; len(o.IgnoreParams) > 0 && r.URL.RawQuery != "" {
		url := *r.URL
		url.RawQuery = o.withoutIgnored(url.RawQuery)
		out.URL = &url
	}
	u.validates = u.base != nil && u.base.hasValidator()
	if !u.validates && !isConditional(r) {
		return out
	}
	out.Header = r.Header.Clone()
	delete(out.Header, "If-None-Match")
	delete(out.Header, "If-Modified-Since")
	if u.validates {
		for name, values := range u.base.validators() {
			out.Header[name] = values
		}
	}
	return out
}

func isServerError(status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// decide is called when the handler has written its header.
func (u *run) decide(status int, h http.Header) fate {
	now := time.Now()
	switch {
	case status == http.StatusNotModified && u.validates:
		u.renewed = true
		return swallow
	case u.base != nil && isServerError(status) && u.base.servesOnError(now, &u.x.want):
		u.failed = true
		u.refuse()
		return swallow
	}
	u.judge(status, h, now)
	if !u.verdict.store {
		u.refuse()
		if u.x.hasContent(status, h, now) {
			toNotModified(h)
			u.rec.reply = http.StatusNotModified
		}
		u.x.c.opts.tell(h, how{fwd: u.fwd, detail: u.verdict.reason})
		return passes
	}
	u.rec.limit = u.options().MaxBody
	if u.slow == nil {
		u.slow = time.AfterFunc(u.options().Wait, u.tooSlow)
	}
	return copies
}

func (u *run) options() *Options { return u.handling.wish().opts }

// judge makes the verdict of a response with the given header.
func (u *run) judge(status int, h http.Header, now time.Time) {
	wish := u.handling.wish()
	u.verdict = wish.opts.judge(&response{
		status: status, header: h, request: u.x.r, began: u.began, now: now, ttl: wish.ttl, ttlSet: wish.ttlSet, declared: contentLength(h),
	})
	v := &u.verdict
	v.vary = unionNames(v.vary, u.at.vary)
	switch {
	case wish.noStore:
		v.store, v.reason, v.asker = false, "no-store", false
	case v.store && len(v.vary) > maxVaryNames:
		v.store, v.reason = false, "vary"
	}
	if v.asker {
		u.x.c.core.passing.add(u.x.primary)
	}
}

// hasContent says whether the client has the content of an answer already, by the preconditions that the handler did not see.
func (x *exchange) hasContent(status int, h http.Header, now time.Time) bool {
	return status == http.StatusOK && isConditional(x.r) && notModified(x.r, h, now)
}

// tooSlow is called when an answer takes too long from its header on: nobody is to wait for the end of a stream.
func (u *run) tooSlow() {
	u.rec.abandoned.Store(true)
	u.refuse()
}

// complete makes the header of an answer that is copied.
func (u *run) complete(whole bool) {
	now := time.Now()
	kept, body := u.rec.header, u.rec.body
	u.sniff(kept, body)
	if _, ok := kept["Date"]; !ok {
		kept["Date"] = []string{httpDate(u.verdict.made)}
	}
	if whole {
		u.tag(kept, body)
	}
	if !u.verdict.clientTTL {
		completeFreshness(kept, u.verdict.made)
	}
	h := u.x.w.Header()
	u.rec.sendSnapshot(h)
	if u.verdict.clientTTL {
		u.x.c.opts.tellClients(h, u.verdict.made, 0, u.verdict.clientFor)
	}
	if whole && !hasNoBody(u.rec.status) && u.rec.declared < 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	s := how{fwd: u.fwd, stored: whole && !u.rec.broken}
	if s.stored {
		s.hasTTL, s.ttl = true, u.verdict.lifetime-u.verdict.initialAge
	}
	u.x.c.opts.tell(h, s)
	if u.x.hasContent(u.rec.status, kept, now) {
		toNotModified(h)
		u.rec.reply = http.StatusNotModified
	}
}

// sniff finds the type of a content as net/http would have, so that it does not depend on how the content is written later.
func (u *run) sniff(h http.Header, body []byte) {
	if _, ok := h["Content-Type"]; ok || len(body) == 0 || len(h["Content-Encoding"]) > 0 {
		return
	}
	h["Content-Type"] = []string{http.DetectContentType(body)}
}

// tag makes an ETag if the handler has made none.
func (u *run) tag(h http.Header, body []byte) {
	if _, ok := h["Etag"]; !ok && u.rec.status == http.StatusOK {
		h["Etag"] = []string{makeETag(h, body, u.options().WeakETag)}
		u.verdict.madeETag = true
	}
}

// finish is called when the handler has returned.
func (u *run) finish() {
	o := &u.x.c.opts
	switch {
	case u.rec.hijacked:
		u.refuse()
	case !u.rec.wrote:
		// An empty 200, or something that whoever called the cache writes now, as the error handlers of some frameworks do.
		o.tell(u.x.w.Header(), how{fwd: u.fwd, detail: "nothing-written"})
		if u.x.r.Context().Err() == nil {
			u.refuse()
		}
	case u.renewed:
		u.freshen()
	case u.failed:
		restore(u.x.w.Header(), u.outer)
		o.serveStored(u.x.w, u.x.r, u.base, time.Now(), how{fwd: u.fwd, fwdStatus: u.rec.status})
	case u.rec.fate == copies:
		u.conclude()
	}
}

// conclude sends what was held back, and gives a copy of the whole to the store and to those who wait.
func (u *run) conclude() {
	rec := &u.rec
	switch whole := u.isWhole(); {
	case !rec.sent:
		rec.send(whole)
	case whole:
		u.tag(rec.header, rec.body)
	}
	switch {
	case u.handling.wish().noStore || hasTrailers(u.x.w.Header()):
		u.refuse()
	case !u.isWhole():
		u.tell(outcome{err: errLost})
	default:
		u.store(rec.header, rec.body)
	}
}

// isWhole says whether the body is all that the handler meant to write. If the client is gone, the handler may have noticed, and
// left.
func (u *run) isWhole() bool {
	rec := &u.rec
	return rec.copying && !rec.broken && !rec.abandoned.Load() && u.x.r.Context().Err() == nil && (rec.declared < 0 || rec.declared == rec.written)
}

// store gives an answer with the header h to the store.
func (u *run) store(h http.Header, body []byte) {
	fields, ok := fieldsOf(h, u.outer, u.verdict.withheld)
	if !ok {
		u.refuse()
		return
	}
	e := u.verdict.entry
	e.header, e.body = fields, body
	u.give(&e, h)
}

func (u *run) give(e *entry, h http.Header) {
	e.selector = selectorOf(e.vary, u.x.r)
	wish := u.handling.wish()
	tags := wish.tags
	for _, line := range h["Surrogate-Key"] {
		for _, tag := range strings.Fields(line) {
			tags = addOnce(tags, tag)
		}
	}
	ttl := e.keepFor(wish.opts.Keep)
	if len(tags) > maxTags || ttl <= 0 {
		u.refuse()
		return
	}
	u.x.log("cachify: http answer stored", u.at.key, "status", e.status, "bytes", len(e.body), "ttl", ttl)
	u.tell(outcome{entry: e, ttl: ttl, tags: tags})
}

// maxTags is how many tags an answer may have and still be stored.
const maxTags = 128

// freshen answers with base after the handler has said by a 304 that it is still good (RFC 9111, section 4.3.4).
func (u *run) freshen() {
	now := time.Now()
	said := how{fwd: u.fwd, fwdStatus: http.StatusNotModified}
	e := u.base
	if mayUpdate(e, u.rec.header) {
		e = u.update(now)
		said.detail = u.verdict.reason
	} else {
		u.tell(outcome{err: errLost})
	}
	restore(u.x.w.Header(), u.outer)
	u.x.c.opts.serveStored(u.x.w, u.x.r, e, now, said)
}

// update makes an entry of base and the header of a 304, and gives it to the store.
func (u *run) update(now time.Time) *entry {
	news := u.rec.header
	if _, ok := news["Date"]; !ok {
		news["Date"] = []string{httpDate(now)} // its own, not that of the stored answer
	}
	cc := parseResponseDirectives(news)
	fields, ok := fieldsOf(news, u.outer, cc.withheld)
	merged := *u.base
	merged.header = updated(merged.header, fields)
	full := u.outer.Clone()
	merged.writeHeader(full)
	full["Age"] = news["Age"] // which is not stored
	u.judge(merged.status, full, now)
	if !u.verdict.store || !ok {
		merged.made, merged.initialAge = micro(now), 0
		u.refuse()
		return &merged
	}
	e := u.verdict.entry
	e.madeETag, e.header, e.body = merged.madeETag, merged.header, merged.body
	u.give(&e, full)
	return &e
}

// mayUpdate says whether a 304 is about the stored answer: it has no strong validator, or the same.
func mayUpdate(e *entry, h http.Header) bool {
	news, ok := wholeETag(h)
	if !ok || news.weak {
		return true
	}
	old, ok := wholeETag(http.Header{"Etag": e.get("Etag")})
	return ok && !old.weak && old.opaque == news.opaque
}
