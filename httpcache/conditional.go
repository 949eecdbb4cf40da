package httpcache

import (
	"net/http"
	"time"
)

// isConditional says whether r has a precondition that a cache evaluates.
func isConditional(r *http.Request) bool {
	return len(r.Header["If-None-Match"]) > 0 || len(r.Header["If-Modified-Since"]) > 0
}

// hasOriginPrecondition says whether r has a precondition that is for the handler only (RFC 9111, section 4.3.2).
func hasOriginPrecondition(r *http.Request) bool {
	return len(r.Header["If-Match"]) > 0 || len(r.Header["If-Unmodified-Since"]) > 0
}

// notModified says whether a 200 with the header h is answered by 304, by the preconditions of r. If-None-Match comes first
// (RFC 9110, section 13.2.2). Where Last-Modified is missing, Date stands in for it, and received for that (RFC 9111, section 4.3.2).
func notModified(r *http.Request, h http.Header, received time.Time) bool {
	if tags := r.Header["If-None-Match"]; len(tags) > 0 {
		tag, ok := wholeETag(h)
		return matchesAny(tags, tag, ok)
	}
	since := r.Header["If-Modified-Since"]
	if len(since) != 1 {
		return false
	}
	limit, ok := parseDate(since[0], received)
	if !ok {
		return false
	}
	modified := received.Truncate(time.Second)
	for _, name := range []string{"Date", "Last-Modified"} {
		if lines := h[name]; len(lines) == 1 {
			t, ok := parseDate(lines[0], received)
			if !ok {
				return false
			}
			modified = t
		}
	}
	return !modified.After(limit)
}

// toNotModified takes from h what a 304 does not have: all that describes a content (RFC 9110, section 15.4.5).
func toNotModified(h http.Header) {
	for _, name := range []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Range", "Content-Md5",
		"Content-Digest", "Repr-Digest", "Digest",
	} {
		delete(h, name)
	}
	if len(h["Etag"]) > 0 {
		delete(h, "Last-Modified")
	}
}
