package httpcache

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// A use is what an entry is good for.
type use int

const (
	isUnusable   use = iota
	isUsable         // as it is
	isUsableOnce     // as it is, while a new one is made in the background
)

// judgeUse says what an entry is good for at a time, for a request with the given directives (RFC 9111, section 4.2.4 and 5.2.1, and
// RFC 5861).
func (e *entry) judgeUse(now time.Time, want *requestDirectives) use {
	if e.mustValidate || want.noCache {
		return isUnusable
	}
	age, left := e.age(now), e.left(now)
	fresh := left > 0
	maxAge, hasMaxAge := want.maxAge.valid()
	if hasMaxAge && age > maxAge && !(e.immutable && fresh) {
		return isUnusable
	}
	if minFresh, ok := want.minFresh.valid(); ok && left < minFresh {
		return isUnusable
	}
	maxStale, hasMaxStale := want.maxStale.valid()
	switch {
	case fresh:
		return isUsable
	case e.noStale:
		return isUnusable
	case want.anyStale || hasMaxStale && -left <= maxStale:
		return isUsable
	case hasMaxAge || want.minFresh.set || want.onlyIfCached:
		return isUnusable // the client does not want what is stale
	case -left < e.staleWhileRevalidate:
		return isUsableOnce
	}
	return isUnusable
}

// servesOnError says whether a stale entry may be used because the handler has failed: by the entry itself, or by the request (RFC
// 5861, section 4).
func (e *entry) servesOnError(now time.Time, want *requestDirectives) bool {
	if e.noStale || e.mustValidate || want.noCache {
		return false
	}
	window := e.staleIfError
	if d, ok := want.staleIfError.valid(); ok {
		window = max(window, d)
	}
	return -e.left(now) < window
}

const (
	maxRenewing = 256         // revalidations in the background at one time
	renewWithin = time.Minute // how long each may take
)

// renewing are the revalidations of the background that are under way in this process.
type renewing struct {
	mu   sync.Mutex
	keys map[key]bool
}

func (rn *renewing) start(k key) bool {
	rn.mu.Lock()
	defer rn.mu.Unlock()
	if rn.keys[k] || len(rn.keys) >= maxRenewing {
		return false
	}
	if rn.keys == nil {
		rn.keys = make(map[key]bool)
	}
	rn.keys[k] = true
	return true
}

func (rn *renewing) done(k key) {
	rn.mu.Lock()
	defer rn.mu.Unlock()
	delete(rn.keys, k)
}

// renewLater has the handler make e anew in the background, in the goroutine of cachify's load, so that closing the client
// ends it. It gets a request like x's, whose client does not matter any more.
func (c *Cache) renewLater(x *exchange, at place, e *entry) {
	k := at.key.again(e.id)
	if !c.core.renewing.start(k) {
		return
	}
	r := x.r.Clone(context.WithoutCancel(x.r.Context()))
	r.Method, r.Body = http.MethodGet, http.NoBody
	delete(r.Header, "Range")
	header := x.w.Header().Clone()
	j := &job{again: k, of: at.key}
	j.run = func(ctx context.Context) outcome {
		out := make(chan outcome, 1)
		bg := &exchange{c: c, w: &discarder{header: header}, r: r.WithContext(ctx), next: x.next, primary: x.primary, personal: x.personal}
		c.survive(&run{x: bg, at: at, fwd: fwdStale, base: e, leave: true, deliver: func(o outcome) { out <- o }})
		return <-out
	}
	go func() {
		defer c.core.renewing.done(k)
		ctx, cancel := context.WithTimeout(j.context(r.Context()), renewWithin)
		defer cancel()
		_, _ = c.core.entries.Get(ctx, k) // the next request tries again
	}()
}

// survive runs the handler where there is no server to log its panic.
func (c *Cache) survive(u *run) {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			c.opts.logger().WarnContext(u.x.r.Context(), "cachify: a handler panicked in the background",
				"url", u.at.key.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		}
	}()
	u.do()
}

// A discarder is the ResponseWriter of a client that is not there.
type discarder struct{ header http.Header }

func (d *discarder) Header() http.Header               { return d.header }
func (d *discarder) WriteHeader(int)                   {}
func (d *discarder) Write(p []byte) (int, error)       { return len(p), nil }
func (d *discarder) WriteString(s string) (int, error) { return len(s), nil }
func (d *discarder) Flush()                            {}
