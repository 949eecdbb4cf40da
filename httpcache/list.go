package httpcache

import (
	"net/http"
	"strings"
)

// A member is an element of a list header, such as Cache-Control: name, or name=value.
type member struct {
	name     string // in lower case
	value    string // without the quotes and backslashes of a quoted string
	hasValue bool
}

// parseList reads a header of the form #( token [ "=" ( token / quoted-string ) ] ), RFC 9110, section 5.6, from all of
// its lines. Empty elements are skipped. ok is false if any element is malformed; members has the others.
func parseList(lines []string) (members []member, ok bool) {
	ok = true
	for _, rest := range lines {
		for {
			rest = strings.TrimLeft(rest, " \t,")
			if rest == "" {
				break
			}
			m, after, good := parseMember(rest)
			if good {
				members, rest = append(members, m), after
			} else {
				ok, rest = false, skipElement(rest)
			}
		}
	}
	return members, ok
}

// parseMember reads the first element of s, which must end in a comma or with s.
func parseMember(s string) (m member, rest string, ok bool) {
	n := tokenLen(s)
	if n == 0 {
		return m, s, false
	}
	m.name, rest = strings.ToLower(s[:n]), s[n:]
	if strings.HasPrefix(rest, "=") {
		m.hasValue = true
		if m.value, rest, ok = parseValue(rest[1:]); !ok {
			return m, s, false
		}
	}
	rest = strings.TrimLeft(rest, " \t")
	return m, rest, rest == "" || rest[0] == ','
}

func parseValue(s string) (value, rest string, ok bool) {
	if strings.HasPrefix(s, `"`) {
		return parseQuoted(s)
	}
	n := tokenLen(s)
	return s[:n], s[n:], n > 0
}

// parseQuoted reads the quoted-string that s begins with.
func parseQuoted(s string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\':
			if i++; i == len(s) || !isFieldByte(s[i]) {
				return "", s, false
			}
			b.WriteByte(s[i])
		case isFieldByte(c):
			b.WriteByte(c)
		default:
			return "", s, false
		}
	}
	return "", s, false
}

// skipElement gives what comes after the first element of s. A comma in a quoted string does not end it.
func skipElement(s string) string {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == ',' && !quoted:
			return s[i+1:]
		}
	}
	return ""
}

// parseNames reads a list of field names, such as Vary, in canonical form, each once. "*" is a token, and so stays.
func parseNames(lines []string) (names []string, ok bool) {
	members, ok := parseList(lines)
	for _, m := range members {
		if m.hasValue {
			ok = false
		}
		names = addOnce(names, http.CanonicalHeaderKey(m.name))
	}
	return names, ok
}

func addOnce(list []string, s string) []string {
	for _, have := range list {
		if have == s {
			return list
		}
	}
	return append(list, s)
}

// tokenLen is the length of the token that s begins with, 0 if there is none.
func tokenLen(s string) int {
	for i := range len(s) {
		if !isTokenByte(s[i]) {
			return i
		}
	}
	return len(s)
}

func isToken(s string) bool { return s != "" && tokenLen(s) == len(s) }

// isTokenByte is tchar of RFC 9110, section 5.6.2.
func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isFieldByte says whether c may be in a field value: no control characters but the tab (RFC 9110, section 5.5).
func isFieldByte(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

func isFieldValue(s string) bool {
	for i := range len(s) {
		if !isFieldByte(s[i]) {
			return false
		}
	}
	return true
}
