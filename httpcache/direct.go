package httpcache

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// direct has the handler answer for this request alone.
func (x *exchange) direct(fwd, detail string) {
	d := &direct{x: x, how: how{fwd: fwd, detail: detail}}
	d.serve(nil)
}

// A direct is a run of the handler whose answer is not stored.
type direct struct {
	x        *exchange
	how      how
	rec      recorder
	handling handling // so that a cache within the handler leaves the request alone too
}

// serve runs the handler. leaving is called before anything leaves for the client that net/http would not hold back.
func (d *direct) serve(leaving func()) {
	x := d.x
	d.handling = x.newHandling()
	d.rec = recorder{w: x.w, decide: d.decide, leaving: leaving, gone: x.r.Context()}
	r := x.r.WithContext(context.WithValue(x.r.Context(), handlingKey{}, &d.handling))
	x.next.ServeHTTP(&d.rec, r)
	x.r.Pattern = r.Pattern
	if !d.rec.wrote && !d.rec.hijacked {
		x.c.opts.tell(x.w.Header(), d.how) // net/http sends a 200 now, or somebody else something else
	}
	d.rec.retire(true)
}

func (d *direct) decide(status int, h http.Header) fate {
	d.x.c.opts.tell(h, d.how)
	if d.x.r.Method == http.MethodHead && status == http.StatusOK && d.x.stale != nil {
		d.x.compare(h)
	}
	return passes
}

// compare removes a stale entry if the answer to a HEAD shows that the content has changed (RFC 9111, section 4.3.5).
func (x *exchange) compare(h http.Header) {
	e := x.stale
	changed := false
	for _, name := range []string{"Etag", "Last-Modified"} {
		now, then := h[name], e.get(name)
		if name == "Etag" && e.madeETag {
			continue
		}
		changed = changed || len(now) == 1 && (len(then) != 1 || now[0] != then[0])
	}
	if length := h["Content-Length"]; len(length) == 1 {
		changed = changed || length[0] != strconv.Itoa(len(e.body))
	}
	if changed {
		_ = x.c.core.entries.Reset(x.r.Context(), x.staleAt) // it is stale anyway
	}
}

// writeThrough has the handler answer a request that changes something, and then removes what is stored of its URL.
func (x *exchange) writeThrough() {
	o := &x.c.opts
	fwd := fwdMethod
	if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
		fwd = fwdBypass
	}
	d := &direct{x: x, how: how{fwd: fwd}}
	urls := []string{}
	if sent := sentURL(x.r); cleanURL(sent) {
		urls = append(urls, o.target(sent).path)
	}
	purged := false
	purge := func() {
		purged = true
		x.invalidate(append(urls, x.locations(x.w.Header())...))
	}
	done := false
	defer func() {
		if !done { // a panic: who knows what it has changed
			x.invalidate(urls)
		}
	}()
	d.serve(func() {
		if d.succeeded() && !purged {
			purge() // before the client can see that it is done
		}
	})
	done = true
	if d.succeeded() || d.rec.hijacked {
		purge()
	}
}

// succeeded says whether the answer is no error. One that is not written yet may become any.
func (d *direct) succeeded() bool { return !d.rec.wrote || d.rec.status >= 200 && d.rec.status < 400 }

// locations gives the paths of the URLs that the answer names, as far as they are of this origin.
func (x *exchange) locations(h http.Header) (paths []string) {
	base := requestURL(x.r)
	for _, name := range []string{"Location", "Content-Location"} {
		for _, line := range h[name] {
			u, err := base.Parse(line)
			if err != nil || u.Scheme != base.Scheme || u.Host != base.Host || !u.IsAbs() {
				continue
			}
			if path, err := x.c.opts.purgePath(u.String()); err == nil {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// invalidate removes what is stored of paths. The request may be over, and what it has changed stays changed: so it is not for its ctx
// to decide.
func (x *exchange) invalidate(paths []string) {
	if len(paths) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(x.r.Context()), purgeWithin)
	defer cancel()
	tags := make([]string, 0, len(paths))
	for _, path := range paths {
		tags = addOnce(tags, pathTag+path)
	}
	if err := x.c.purged(ctx, "urls", paths, x.c.core.client.ResetTags(ctx, tags...)); err != nil {
		x.c.opts.logger().WarnContext(ctx, "cachify: http answers are not purged yet", "urls", paths, "error", err)
	}
}

const purgeWithin = 5 * time.Second
