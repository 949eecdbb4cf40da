package httpcache

import (
	"errors"
	"net/http"
	"strconv"
	"time"
)

// A place is where an entry may be, and the request headers that all entries there depend on.
type place struct {
	key  key
	vary []string
}

// again is where the revalidations of the answer with the id are coalesced.
func (k key) again(id uint64) key { return k.with("@again=" + strconv.FormatUint(id, 16)) }

// An exchange is a request of a kind that can be answered from the store, and its answer.
type exchange struct {
	c    *Cache
	w    http.ResponseWriter
	r    *http.Request
	next http.Handler
	want requestDirectives

	primary  key
	personal bool // the request has credentials, so its answer may be for its client only

	stale   *entry // what the store has and the handler is asked in spite of
	staleAt key
}

const (
	maxSteps = 12 // entries looked at for one request
	maxTries = 2  // runs of others that it waits for in vain
)

// lookup answers the request from the store or, if there is nothing for it, by the handler.
func (x *exchange) lookup() {
	s := search{x: x, at: place{key: x.primary}, fwd: fwdURIMiss}
	e, err := x.c.core.peek(x.r.Context(), x.primary)
	for range maxSteps {
		if err != nil {
			x.direct(fwdBypass, "store")
			return
		}
		switch {
		case e == nil:
			e, err = s.fill()
		case e.kind == isPass:
			s.answered = true
			x.direct(s.fwd, "hit-for-miss")
		case e.kind != isAnswer:
			e = nil // the word of a revalidation, where none was expected
			s.answered = true
			x.direct(s.fwd, "")
		case !e.selects(x.r):
			e, err = s.elsewhere(e)
		default:
			e, err = s.use(e)
		}
		if s.answered {
			return
		}
	}
	x.direct(s.fwd, "unsettled")
}

// A search goes from entry to entry.
type search struct {
	x         *exchange
	at        place
	fwd       string
	answered  bool
	collapsed bool // the entry comes from the run of another request that this one has waited for
	tries     int

	// Of the variants of the URL: the two places for x, and how many of them have been looked at.
	places [2]key
	looked int
}

func (s *search) peek() (*entry, error) { return s.x.c.core.peek(s.x.r.Context(), s.at.key) }

// direct has the handler answer, for this request alone.
func (s *search) direct(detail string) (*entry, error) {
	s.answered = true
	s.x.direct(s.fwd, detail)
	return nil, nil
}

// elsewhere goes on from an entry that is for requests with other headers.
func (s *search) elsewhere(e *entry) (*entry, error) {
	n := s.x.c.opts.MaxVariants - 1
	if wider := unionNames(s.at.vary, e.vary); len(wider) > len(s.at.vary) || s.looked == 0 {
		s.at.vary, s.looked = wider, 0
		if len(wider) > maxVaryNames {
			return s.direct("vary")
		}
		if n > 0 {
			s.places = selectorOf(wider, s.x.r).places(s.x.primary, n)
		}
	}
	if s.looked == len(s.places) || n == 0 {
		return s.direct("variants")
	}
	s.fwd, s.collapsed = fwdVaryMiss, false
	s.at.key = s.places[s.looked]
	s.looked++
	return s.peek()
}

// fill has the handler make what is not there.
func (s *search) fill() (*entry, error) {
	x := s.x
	switch {
	case x.want.onlyIfCached:
		return s.notCached()
	case !x.leads():
		return s.direct("")
	case x.personal && x.c.core.passing.has(x.primary):
		return s.direct("hit-for-miss")
	}
	by := toFill
	if x.want.noCache {
		by, s.fwd = toReplace, fwdRequest
	}
	return s.take(by, &run{x: x, at: s.at, fwd: s.fwd, leave: by == toReplace})
}

// leads says whether the answer to the request can be stored: it is whole.
func (x *exchange) leads() bool { return x.r.Method == http.MethodGet && len(x.r.Header["Range"]) == 0 }

// take waits for an entry, or makes one. What comes of others' runs is looked at like what comes from the store.
func (s *search) take(by way, u *run) (*entry, error) {
	res, answered := s.x.take(by, u)
	if answered {
		s.answered = true
		return nil, nil
	}
	switch s.tries++; {
	case res.err == nil:
		s.collapsed = true
		return s.renewed(by, u, res.entry)
	case errors.Is(res.err, errAsker) && s.x.personal:
		return s.direct("hit-for-miss")
	case (errors.Is(res.err, errLost) || errors.Is(res.err, errAsker)) && s.tries <= maxTries:
		return s.peek()
	}
	return s.direct("")
}

// renewed acts on the word of a revalidation by another request.
func (s *search) renewed(by way, u *run, e *entry) (*entry, error) {
	if by != toRenew {
		return e, nil
	}
	switch {
	case e.kind == isRenewed && s.tries <= maxTries:
		return s.peek()
	case e.kind == isFailing && u.base.servesOnError(time.Now(), &s.x.want):
		s.serve(u.base, how{detail: "stale-if-error"})
		return nil, nil
	}
	if e.kind == isPass {
		return s.direct("hit-for-miss")
	}
	return s.direct("")
}

// use answers from an entry that is for requests like this one, or has the handler make a new one.
func (s *search) use(e *entry) (*entry, error) {
	x := s.x
	now := time.Now()
	s.at.vary = unionNames(s.at.vary, e.vary)
	if reason := x.barred(e); reason != "" {
		s.fwd = fwdBypass
		return s.direct(reason)
	}
	switch e.judgeUse(now, &x.want) {
	case isUsable:
		s.serve(e, how{})
		return nil, nil
	case isUsableOnce:
		x.c.renewLater(x, s.at, e)
		s.serve(e, how{})
		return nil, nil
	}
	s.fwd = fwdStale
	if x.want.noCache || e.left(now) > 0 && !e.mustValidate {
		s.fwd = fwdRequest
	}
	x.stale, x.staleAt = e, s.at.key
	switch {
	case x.want.onlyIfCached:
		return s.notCached()
	case !x.leads():
		return s.direct("")
	}
	u := &run{x: x, at: s.at, fwd: s.fwd, base: e, leave: true}
	switch {
	case x.want.noCache:
		u.base = nil
		return s.take(toReplace, u)
	case s.fwd == fwdRequest || e.mustValidate || e.lifetime <= 0 || s.collapsed:
		return s.take(toReplace, u) // what others' runs make would not do for this request
	}
	return s.take(toRenew, u)
}

// barred says why an entry must not be used for this client.
func (x *exchange) barred(e *entry) string {
	o := &x.c.opts
	switch {
	case len(x.r.Header["Authorization"]) > 0 && !e.authorized && !o.keys("Authorization"):
		return "authorization"
	case e.implicit && len(x.r.Header["Cookie"]) > 0 && !o.cookieSafe(e.vary):
		return "cookie"
	}
	return ""
}

func (s *search) serve(e *entry, h how) {
	s.answered = true
	x := s.x
	if s.collapsed {
		h.fwd, h.collapsed = s.fwd, true
	}
	x.log("cachify: http hit", s.at.key, "status", e.status)
	x.c.opts.serveStored(x.w, x.r, e, time.Now(), h)
}

// notCached answers only-if-cached where there is nothing to answer with.
func (s *search) notCached() (*entry, error) {
	s.answered = true
	s.x.c.opts.tell(s.x.w.Header(), how{detail: "only-if-cached"})
	http.Error(s.x.w, "not cached", http.StatusGatewayTimeout)
	return nil, nil
}
