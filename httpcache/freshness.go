package httpcache

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// A verdict is what becomes of a response, by its status and header and by what is known of the request.
type verdict struct {
	store  bool
	reason string // why not
	asker  bool   // because of who asked: for others it may be different

	entry             // all but header and body
	withheld []string // fields that are not to be stored
}

// mayStoreStatus says which statuses can be stored at all: those that are final and stand for the whole.
func mayStoreStatus(status int) bool {
	switch status {
	case http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		return false
	}
	return status >= 200
}

// understands says of which statuses the cache knows the rules (must-understand, RFC 9111, section 5.2.2.3).
func understands(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// takesTTL says which statuses are stored for Options.TTL. Errors are not: what is missing now may be made in a moment.
func takesTTL(status int) bool {
	switch status {
	case 200, 203, 204, 300, 301, 308:
		return true
	}
	return false
}

// A response is what judge looks at.
type response struct {
	status   int
	header   http.Header // as the client will see it
	request  *http.Request
	began    time.Time // when the handler was called
	now      time.Time
	ttl      time.Duration // by SetTTL
	ttlSet   bool
	declared int64 // Content-Length, -1 if there is none
}

// judge decides whether a response may be stored and for how long it is fresh (RFC 9111, section 3 and 4.2).
func (o *Options) judge(res *response) (v verdict) {
	cc := parseResponseDirectives(res.header)
	if reason := o.forbids(res, &cc); reason != "" {
		v.reason = reason
		return v
	}
	var reusable bool
	if v.vary, reusable = varyNames(res.header); !reusable {
		v.reason = "vary"
		return v
	}
	v.kind, v.id, v.status, v.made = isAnswer, newID(), res.status, micro(res.now)
	v.withheld = cc.withheld
	v.initialAge = initialAge(res)
	v.setLifetime(o, res, &cc)
	v.setStale(o, &cc)
	v.authorized = cc.sharesAuthorized()
	v.immutable = cc.immutable
	if v.clientTTL = !cc.present && len(res.header["Expires"]) == 0; v.clientTTL {
		v.clientFor = min(o.ClientTTL, v.lifetime)
	}
	if v.reason = o.forbidsFor(res, &v); v.reason != "" {
		v.asker = true
		return v
	}
	v.store, v.reason = v.worthStoring(o, res, &cc)
	return v
}

// forbids says why a response may not be stored, whoever asked for it.
func (o *Options) forbids(res *response, cc *responseDirectives) string {
	switch {
	case !mayStoreStatus(res.status):
		return "status"
	case cc.malformed:
		return "cache-control"
	case cc.mustUnderstand && !understands(res.status):
		return "must-understand"
	case cc.noStore && !cc.mustUnderstand:
		return "no-store"
	case cc.private:
		return "private"
	case setsCookie(res.header, cc.withheld):
		return "set-cookie"
	case res.declared > int64(o.MaxBody):
		return "too-large"
	case hasTrailers(res.header):
		return "trailer"
	case isEventStream(res.header):
		return "stream"
	}
	return ""
}

// forbidsFor says why a response may not be stored because of who asked for it.
func (o *Options) forbidsFor(res *response, v *verdict) string {
	switch {
	case len(res.request.Header["Authorization"]) > 0 && !v.authorized && !o.keys("Authorization"):
		return "authorization"
	case v.implicit && len(res.request.Header["Cookie"]) > 0 && !o.cookieSafe(v.vary):
		return "cookie"
	}
	return ""
}

// cookieSafe says whether answers stored for TTL alone are apart for different cookies, or do not depend on them.
func (o *Options) cookieSafe(vary []string) bool {
	return o.ShareCookies || o.keys("Cookie") || slices.Contains(vary, "Cookie")
}

func setsCookie(h http.Header, withheld []string) bool {
	for _, name := range []string{"Set-Cookie", "Set-Cookie2"} {
		if len(h[name]) > 0 && !slices.Contains(withheld, name) {
			return true
		}
	}
	return false
}

func hasTrailers(h http.Header) bool {
	if len(h["Trailer"]) > 0 {
		return true
	}
	for name := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

func isEventStream(h http.Header) bool {
	if len(h["Content-Type"]) == 0 {
		return false
	}
	mediaType, _, _ := strings.Cut(h["Content-Type"][0], ";")
	return strings.EqualFold(trimOWS(mediaType), "text/event-stream")
}

// initialAge is corrected_initial_age. The time that the handler took counts only if it has passed on an answer from elsewhere, which
// its Date or Age tells; what it has made itself is new when it is done.
func initialAge(res *response) time.Duration {
	dates, ages := res.header["Date"], res.header["Age"]
	if len(dates) == 0 && len(ages) == 0 {
		return 0
	}
	age := parseAge(ages) + max(0, res.now.Sub(res.began))
	if len(dates) > 0 {
		if date, ok := parseDate(dates[0], res.now); ok {
			age = max(age, res.now.Sub(date))
		}
	}
	return min(age, maxDelta*time.Second)
}

// setLifetime finds freshness_lifetime: of SetTTL, s-maxage, max-age, Expires and Options.TTL the first that there is. What
// can't be read is stale.
func (v *verdict) setLifetime(o *Options, res *response, cc *responseDirectives) {
	v.mustValidate = cc.noCache
	expires := res.header["Expires"]
	switch {
	case res.ttlSet:
		v.lifetime = v.initialAge + max(0, res.ttl)
	case cc.sMaxAge.set:
		v.lifetime = cc.sMaxAge.fresh()
	case cc.maxAge.set:
		v.lifetime = cc.maxAge.fresh()
	case len(expires) > 0:
		v.lifetime = expiresIn(expires, res)
	case o.TTL > 0 && takesTTL(res.status):
		v.lifetime, v.implicit = v.initialAge+o.TTL, true
	}
	v.lifetime = min(v.lifetime, maxDelta*time.Second)
}

// fresh is the argument, or 0 if it can't be trusted.
func (d delta) fresh() time.Duration {
	v, ok := d.valid()
	if !ok {
		return 0
	}
	return v
}

// expiresIn is Expires less Date. An Expires that is no date, such as "0", or that is there twice, is of the past.
func expiresIn(expires []string, res *response) time.Duration {
	until, ok := parseDate(expires[0], res.now)
	if !ok || len(expires) > 1 {
		return 0
	}
	from := res.now.Truncate(time.Second)
	if dates := res.header["Date"]; len(dates) > 0 {
		if date, ok := parseDate(dates[0], res.now); ok {
			from = date
		}
	}
	return max(0, until.Sub(from))
}

// setStale finds for how long the response may be used when it is stale.
func (v *verdict) setStale(o *Options, cc *responseDirectives) {
	if v.noStale = cc.forbidsStale(); v.noStale {
		return
	}
	v.staleWhileRevalidate, v.staleIfError = o.StaleWhileRevalidate, o.StaleIfError
	if cc.staleWhileRevalidate.set {
		v.staleWhileRevalidate = cc.staleWhileRevalidate.fresh()
	}
	if cc.staleIfError.set {
		v.staleIfError = cc.staleIfError.fresh()
	}
}

// worthStoring says whether the response will ever be of use: it is fresh, or can be revalidated or used when it is stale. Responses
// that say nothing about caching are left alone.
func (v *verdict) worthStoring(o *Options, res *response, cc *responseDirectives) (bool, string) {
	explicit := res.ttlSet || cc.sMaxAge.set || cc.maxAge.set || len(res.header["Expires"]) > 0 || cc.noCache || cc.public
	if !explicit && !v.implicit {
		return false, "no-freshness"
	}
	left := v.lifetime - v.initialAge
	if v.mustValidate {
		left = 0
	}
	after := max(v.staleWhileRevalidate, v.staleIfError)
	if len(res.header["Etag"]) == 1 || len(res.header["Last-Modified"]) == 1 {
		after = max(after, o.Keep)
	}
	if left <= 0 && after <= 0 {
		return false, "stale"
	}
	return true, ""
}
