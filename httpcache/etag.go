package httpcache

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
)

// makeETag makes an entity tag of the content and of what says how to read it, so it is the same in every process, and
// differs between encodings of one content.
func makeETag(h http.Header, body []byte, weak bool) string {
	hash := sha256.New()
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language"} {
		hash.Write(appendSized(nil, strings.Join(h[name], ",")))
	}
	hash.Write(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:16]) + `"`
	if weak {
		return "W/" + tag
	}
	return tag
}

// An etag is an entity tag (RFC 9110, section 8.8.3).
type etag struct {
	opaque string // with its quotes
	weak   bool
}

// parseETag reads the tag that s begins with.
func parseETag(s string) (t etag, rest string, ok bool) {
	s, t.weak = strings.CutPrefix(s, "W/")
	if !strings.HasPrefix(s, `"`) {
		return t, s, false
	}
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			t.opaque = s[:i+1]
			return t, s[i+1:], true
		case c <= ' ' || c == 0x7f:
			return t, s, false
		}
	}
	return t, s, false
}

// wholeETag reads an ETag header.
func wholeETag(h http.Header) (t etag, ok bool) {
	lines := h["Etag"]
	if len(lines) != 1 {
		return t, false
	}
	t, rest, ok := parseETag(lines[0])
	return t, ok && rest == ""
}

// matchesAny says whether the tags of an If-None-Match are "*" or name t, by the weak comparison. The parts of the header that
// are no tags match nothing.
func matchesAny(lines []string, t etag, has bool) bool {
	for _, rest := range lines {
		if trimOWS(rest) == "*" {
			return true
		}
		for rest = strings.TrimLeft(rest, " \t,"); rest != ""; rest = strings.TrimLeft(rest, " \t,") {
			other, after, ok := parseETag(rest)
			if !ok {
				break
			}
			if has && other.opaque == t.opaque {
				return true
			}
			if rest = strings.TrimLeft(after, " \t"); rest != "" && rest[0] != ',' {
				break
			}
		}
	}
	return false
}
