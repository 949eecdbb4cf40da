package httpcache

import (
	"net/http"
	"strconv"
	"time"
)

// Why a request went to the handler, as Cache-Status says it (RFC 9211, section 2.2).
const (
	fwdBypass   = "bypass"
	fwdMethod   = "method"
	fwdURIMiss  = "uri-miss"
	fwdVaryMiss = "vary-miss"
	fwdRequest  = "request"
	fwdStale    = "stale"
)

// A how is what Cache-Status says of an answer.
type how struct {
	fwd       string // why the handler was asked; empty: it was not
	fwdStatus int    // what it answered, if the client gets something else
	stored    bool
	collapsed bool // another request's run of the handler served this one
	detail    string

	hasTTL bool
	ttl    time.Duration
	hit    bool // the content is from the store
}

// tell adds Cache-Status, after that of caches which the handler has asked, and sets the header that says Hit or Miss.
func (o *Options) tell(h http.Header, s how) {
	said := "Miss"
	if s.hit {
		said = "Hit"
	}
	values := []string{said, s.member(o.Name)} // in one piece of memory
	h[o.Header] = values[:1:1]
	if before := h["Cache-Status"]; len(before) > 0 {
		h["Cache-Status"] = append(before[:len(before):len(before)], values[1])
	} else {
		h["Cache-Status"] = values[1:]
	}
}

func (s *how) member(name string) string {
	b := append(make([]byte, 0, 64), name...)
	if s.fwd == "" && s.hit {
		b = append(b, "; hit"...)
	}
	if s.fwd != "" {
		b = append(append(b, "; fwd="...), s.fwd...)
	}
	if s.fwdStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.fwdStatus), 10)
	}
	if s.hasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), floorSeconds(s.ttl), 10)
	}
	if s.stored {
		b = append(b, "; stored"...)
	}
	if s.collapsed {
		b = append(b, "; collapsed"...)
	}
	if s.detail != "" {
		b = append(append(b, "; detail="...), s.detail...)
	}
	return string(b)
}

func floorSeconds(d time.Duration) int64 {
	if d < 0 {
		return -int64((-d + time.Second - 1) / time.Second)
	}
	return int64(d / time.Second)
}
