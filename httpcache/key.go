package httpcache

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A key names what is stored. In the store it is "http:get:" and Path, "#" and Rest, after the client's prefix, so that people find
// it by its path.
//
// Path is the path and query by which entries are purged: as the client sent it, except that parameters are in the order of
// their names, ignored ones are left out, and escapes are written in one way.
//
// Rest has everything else that tells answers apart: scheme and host, the path and query as they were sent if escapes had to
// be rewritten, those that an outer middleware has made of them, headers and the text of Options.Key, and which variant
// or revalidation it is. Each part begins with #, which can't be in any of them, and says what it is; so two requests
// that differ in any of this never have one key.
type key struct {
	Path string `key:"path"`
	Rest string `key:"rest"`
}

func (k key) with(part string) key { return key{k.Path, k.Rest + "#" + part} }

// forwarded are headers by which proxies, and attackers, tell handlers of another URL than that of the request. They are
// part of every key, so that an answer made for one of their values is never given for another.
var forwarded = []string{
	"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Original-Url", "X-Rewrite-Url",
}

// keyOf gives the key of a GET or HEAD request. ok is false if the request's URL has bytes that no URL should have.
func (o *Options) keyOf(r *http.Request) (k key, ok bool) {
	sent := sentURL(r)
	if !cleanURL(sent) {
		return k, false
	}
	t := o.target(sent)
	b := make([]byte, 0, 128)
	b = appendOrigin(b, r)
	if t.sent != "" {
		b = append(append(b, "#@sent="...), t.sent...)
	}
	if isRewritten(r, sent) {
		b = appendKeyText(append(b, "#@rewritten="...), r.URL.EscapedPath()+"?"+r.URL.RawQuery)
	}
	for _, name := range forwarded {
		b = appendKeyHeader(b, name, r.Header[name])
	}
	for _, name := range o.KeyHeaders {
		b = appendKeyHeader(b, name, r.Header[name])
	}
	if o.Key != nil {
		if text := o.Key(r); text != "" {
			b = appendKeyText(append(b, "#@key="...), text)
		}
	}
	return key{t.path, string(b)}, true
}

// sentURL gives the escaped path and the raw query, if there is one, as the client sent them: middlewares such as
// http.StripPrefix change r.URL. Requests that no server has made have r.URL only.
func sentURL(r *http.Request) string {
	s := r.RequestURI
	switch {
	case s == "":
		s = r.URL.EscapedPath()
		if r.URL.ForceQuery || r.URL.RawQuery != "" {
			s += "?" + r.URL.RawQuery
		}
	case s[0] != '/':
		s = afterAuthority(s)
	}
	if s == "" || s[0] == '?' {
		s = "/" + s
	}
	return s
}

// isRewritten says whether r.URL is no longer what was sent.
func isRewritten(r *http.Request, sent string) bool {
	if r.RequestURI == "" {
		return false
	}
	path, query, _ := strings.Cut(sent, "?")
	now := r.URL.EscapedPath()
	return r.URL.RawQuery != query || now != path && (now != "" || path != "/")
}

// afterAuthority cuts scheme and host off an absolute URL.
func afterAuthority(s string) string {
	_, s, _ = strings.Cut(s, "://")
	if i := strings.IndexAny(s, "/?"); i >= 0 {
		return s[i:]
	}
	return "/"
}

func cleanURL(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || c == '#' {
			return false
		}
	}
	return true
}

// A target is the path and query of a key.
type target struct {
	path string // in the one way of writing
	sent string // as it was sent, if that differs
}

func (o *Options) target(sent string) target {
	path, query, hasQuery := strings.Cut(sent, "?")
	if hasQuery && (len(o.IgnoreParams) > 0 || !isOrdered(query)) {
		if query, dropped := o.orderQuery(query); query != "" || !dropped {
			sent = path + "?" + query
		} else {
			sent = path
		}
	}
	if plainURL(sent) {
		return target{path: sent}
	}
	path, query, hasQuery = strings.Cut(sent, "?")
	normal := normalPath(path)
	if hasQuery {
		normal += "?" + normalQuery(query)
	}
	if normal == sent {
		return target{path: sent}
	}
	return target{normal, sent}
}

// orderQuery sorts the parameters by their names, and leaves out those that are ignored. Parameters of one name keep their
// order. Names are compared decoded, as handlers see them, but nothing is rewritten.
func (o *Options) orderQuery(query string) (ordered string, dropped bool) {
	params := strings.Split(query, "&")
	kept := params[:0]
	for _, p := range params {
		if p == "" || !o.ignores(paramName(p)) {
			kept = append(kept, p)
		}
	}
	dropped = len(kept) < len(params)
	slices.SortStableFunc(kept, func(a, b string) int { return strings.Compare(paramName(a), paramName(b)) })
	return strings.Join(kept, "&"), dropped
}

// isOrdered says of plain queries that they are in order.
func isOrdered(query string) bool {
	if strings.ContainsAny(query, "%+") {
		return false
	}
	last := ""
	for rest := query; rest != ""; {
		var p string
		p, rest, _ = strings.Cut(rest, "&")
		name, _, _ := strings.Cut(p, "=")
		if name < last {
			return false
		}
		last = name
	}
	return !strings.HasSuffix(query, "&")
}

func paramName(param string) string {
	name, _, _ := strings.Cut(param, "=")
	if decoded, err := url.QueryUnescape(name); err == nil {
		return decoded
	}
	return name
}

// ignores says whether name is one of IgnoreParams, of which those that end in * stand for all names that begin so.
func (o *Options) ignores(name string) bool {
	return slices.ContainsFunc(o.IgnoreParams, func(pattern string) bool {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(name, prefix)
		}
		return name == pattern
	})
}

// withoutIgnored returns query without the parameters that are ignored.
func (o *Options) withoutIgnored(query string) string {
	params := strings.Split(query, "&")
	params = slices.DeleteFunc(params, func(p string) bool { return p != "" && o.ignores(paramName(p)) })
	return strings.Join(params, "&")
}

// plainBytes may be in URLs unescaped, and are escaped by nobody in earnest.
func isPlainByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-._~!$'()*,;:@/", c) >= 0
}

// plainURL says whether s is written in the one way already.
func plainURL(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isPlainByte(c) && c != '?' && c != '&' && c != '=' && c != '+' {
			return false
		}
	}
	return true
}

func normalPath(path string) string {
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return string(appendNormal(nil, decoded, "&=+"))
}

func normalQuery(query string) string {
	var b []byte
	for i, p := range strings.Split(query, "&") {
		if i > 0 {
			b = append(b, '&')
		}
		name, value, hasValue := strings.Cut(p, "=")
		b = appendNormalPart(b, name, "?")
		if hasValue {
			b = appendNormalPart(append(b, '='), value, "?=")
		}
	}
	return string(b)
}

func appendNormalPart(b []byte, s, also string) []byte {
	decoded, err := url.QueryUnescape(s)
	if err != nil {
		return append(b, s...) // no decoded text is written like this
	}
	start := len(b)
	b = appendNormal(b, decoded, also+" ")
	for i := start; i < len(b); i++ {
		if b[i] == ' ' {
			b[i] = '+'
		}
	}
	return b
}

// appendNormal appends s with all bytes escaped but plain ones and those in also.
func appendNormal(b []byte, s, also string) []byte {
	for i := range len(s) {
		if c := s[i]; isPlainByte(c) || strings.IndexByte(also, c) >= 0 {
			b = append(b, c)
		} else {
			b = appendEscape(b, c)
		}
	}
	return b
}

func appendEscape(b []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(b, '%', digits[c>>4], digits[c&15])
}

// appendOrigin appends scheme and host. The host is in lower case and without the default port.
func appendOrigin(b []byte, r *http.Request) []byte {
	scheme, port := "http", ":80"
	if r.TLS != nil {
		scheme, port = "https", ":443"
	}
	b = append(append(b, scheme...), "://"...)
	for _, c := range []byte(strings.TrimSuffix(r.Host, port)) {
		switch {
		case 'A' <= c && c <= 'Z':
			b = append(b, c+'a'-'A')
		case isPlainByte(c) && c != '/' || c == '[' || c == ']':
			b = append(b, c)
		default:
			b = appendEscape(b, c)
		}
	}
	return b
}

// appendKeyHeader appends each line of a header. An empty line is told from none.
func appendKeyHeader(b []byte, name string, lines []string) []byte {
	for _, line := range lines {
		b = append(append(append(b, '#'), name...), '=')
		b = appendKeyText(b, line)
	}
	return b
}

// appendKeyText appends s with # escaped, which begins the next part, and % itself. What else keys must not hold the template
// of the keys escapes.
func appendKeyText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c == '#' || c == '%' {
			b = appendEscape(b, c)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// purgePath gives the Path of the keys to purge for a URL, absolute or beginning with a slash. The host does not matter.
func (o *Options) purgePath(rawURL string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", err
	}
	path := u.EscapedPath()
	if !strings.HasPrefix(path, "/") {
		path = "/" + path
	}
	if u.ForceQuery || u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return o.target(path).path, nil
}

// requestURL gives the URL of a request as the client knows it.
func requestURL(r *http.Request) *url.URL {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	u, err := url.Parse(sentURL(r))
	if err != nil {
		u = &url.URL{Path: "/"}
	}
	u.Scheme, u.Host = scheme, r.Host
	return u
}
