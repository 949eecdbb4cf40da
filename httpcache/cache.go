package httpcache

import (
	"errors"
	"net/http"
	"strings"

	"github.com/go-cachify/cachify"
)

// A Cache is a shared HTTP cache (RFC 9111) in front of handlers, in a client's store. It is safe for concurrent use. Make
// one with [New], and others for single routes with [Cache.With].
//
// Caches of one client share what they store: a URL is one entry, whichever of them has it.
type Cache struct {
	core *core
	opts Options
	err  error
}

// New makes a cache whose entries are in the store of client, and never in a near cache of it. It does no I/O and does not fail: with a nil client or options
// that can't be right, [Cache.Err] says what is wrong, it is logged once at level Error, and handlers run as if there were no cache.
func New(client *cachify.Client, opts *Options) *Cache {
	c := &Cache{core: &core{client: client}}
	if opts != nil {
		c.opts = *opts
	}
	c.opts.setDefaults()
	c.err = c.core.newEntries()
	c.prepare(nil)
	return c
}

// With returns a cache for routes with other settings. Where opts has none, those of c hold. What is stored is shared with c.
// Where a handler of the one cache lies within a handler of the other, the settings of the inner one count, but the outer one
// makes the key: if theirs differ in IgnoreParams, KeyHeaders or Key, the answer is not stored.
func (c *Cache) With(opts *Options) *Cache {
	with := &Cache{core: c.core, err: c.err}
	if opts != nil {
		with.opts = *opts
	}
	with.opts = with.opts.over(c.opts)
	with.prepare(c.err)
	return with
}

// prepare checks the options. known is the error that has been logged already.
func (c *Cache) prepare(known error) {
	if c.err == nil {
		c.err = c.opts.check()
	}
	switch {
	case c.err == nil:
		c.opts.canonical()
	case known == nil:
		c.opts.logger().Error("cachify: http answers are not cached", "error", c.err)
	}
}

// Err says what is wrong with the client or the options, nil if nothing is.
func (c *Cache) Err() error { return c.err }

// Handler returns a handler that answers GET and HEAD requests from the store where it may, and else calls next and stores its
// answer where it may. A request of another method that next answers with 2xx or 3xx removes what is stored of its URL, and
// of the URLs in Location and Content-Location: so wrap the handlers of all methods of a URL. next runs in the goroutine of its own request, and its answer streams to the client.
func (c *Cache) Handler(next http.Handler) http.Handler {
	if c.err != nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, next) })
}

func (c *Cache) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if outer := c.core.around(r); outer != nil {
		outer.adopt(&c.opts)
		next.ServeHTTP(w, r)
		return
	}
	x := &exchange{c: c, w: w, r: r, next: next}
	switch {
	case isUpgrade(r):
		c.opts.tell(w.Header(), how{fwd: fwdBypass, detail: "upgrade"})
		next.ServeHTTP(w, r)
	case !isRead(r):
		x.writeThrough()
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		x.direct(fwdMethod, "")
	case hasBody(r):
		x.direct(fwdBypass, "body")
	case hasOriginPrecondition(r):
		x.direct(fwdBypass, "precondition")
	default:
		x.read()
	}
}

// read answers a GET or HEAD.
func (x *exchange) read() {
	o := &x.c.opts
	var ok bool
	if x.primary, ok = o.keyOf(x.r); !ok {
		x.direct(fwdBypass, "url")
		return
	}
	x.want = parseRequestDirectives(x.r.Header)
	x.personal = len(x.r.Header["Authorization"]) > 0 && !o.keys("Authorization") || len(x.r.Header["Cookie"]) > 0 && !o.cookieSafe(nil)
	switch {
	case x.want.noStore:
		x.direct(fwdRequest, "no-store")
	case !x.c.core.usable():
		x.direct(fwdBypass, "store")
	default:
		x.lookup()
	}
}

// isRead says whether a request is safe: it changes nothing. A method whose safety is unknown is not, and neither is one that some
// frameworks put in the place of GET.
func isRead(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
	default:
		return false
	}
	for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if len(r.Header[name]) > 0 {
			return false
		}
	}
	return true
}

func hasBody(r *http.Request) bool {
	return r.ContentLength != 0 && r.Body != nil && r.Body != http.NoBody || len(r.TransferEncoding) > 0
}

func isUpgrade(r *http.Request) bool {
	if r.Method == http.MethodConnect || len(r.Header["Upgrade"]) > 0 {
		return true
	}
	for _, line := range r.Header["Connection"] {
		if strings.Contains(strings.ToLower(line), "upgrade") {
			return true
		}
	}
	return false
}

// log tells at level Debug of what was done with the answer of a URL.
func (x *exchange) log(msg string, k key, args ...any) { x.c.log(x.r.Context(), msg, k.Path, args...) }

var errNoCache = errors.New("cachify: httpcache: the cache could not be made, see Err")

func (c *Cache) usable() error {
	if c.err != nil {
		return errors.Join(errNoCache, c.err)
	}
	return nil
}
