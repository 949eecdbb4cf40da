package httpcache

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

var fuzzNow = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func FuzzDirectives(f *testing.F) {
	for _, rule := range storingRules {
		for _, line := range rule.headers {
			_, value, _ := strings.Cut(line, ": ")
			f.Add(value, "")
		}
	}
	f.Add(`no-cache="a, \"b\\", max-age=1`, `private="x`)
	f.Fuzz(func(t *testing.T, a, b string) {
		members, ok := parseList([]string{a, b})
		for _, m := range members {
			if !isToken(m.name) || strings.ToLower(m.name) != m.name || !isFieldValue(m.value) {
				t.Fatalf("%q, %q: %+v", a, b, m)
			}
		}
		// Lines are elements of one list.
		if joined, joinedOK := parseList([]string{a + "," + b}); ok && (!joinedOK || !reflect.DeepEqual(members, joined)) {
			t.Fatalf("%q, %q: %v, joined %v", a, b, members, joined)
		}
		// What is read is what was meant: writing it down gives the same again.
		if again, ok := parseList([]string{writeList(members)}); !ok || len(again) != len(members) || len(members) > 0 && !reflect.DeepEqual(again, members) {
			t.Fatalf("%q, %q: %v, again %v", a, b, members, again)
		}
		h := http.Header{"Cache-Control": {a, b}, "Pragma": {a}, "Vary": {b}, "Age": {a, b}}
		res := parseResponseDirectives(h)
		if d, ok := res.maxAge.valid(); ok && (d < 0 || d > maxDelta*time.Second) {
			t.Fatalf("max-age %v", d)
		}
		parseRequestDirectives(h)
		if names, ok := varyNames(h); ok {
			for _, name := range names {
				if !isToken(name) || name == "*" {
					t.Fatalf("Vary %q", names)
				}
			}
		}
		if age := parseAge(h["Age"]); age < 0 || age > maxDelta*time.Second {
			t.Fatalf("Age %v", age)
		}
	})
}

func writeList(members []member) string {
	var b strings.Builder
	for _, m := range members {
		b.WriteString(m.name)
		if m.hasValue {
			b.WriteString(`="`)
			for _, c := range []byte(m.value) {
				if c == '"' || c == '\\' {
					b.WriteByte('\\')
				}
				b.WriteByte(c)
			}
			b.WriteByte('"')
		}
		b.WriteByte(',')
	}
	return b.String()
}

func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994", "Thu, 29 Feb 2024 23:59:60 GMT",
		"Thursday, 18-Aug-50 02:01:18 GMT", "0", "", "Thu, 01 Jan 1970 00:00:00 UTC",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := parseDate(s, fuzzNow)
		if !ok {
			return
		}
		if again, ok := parseDate(httpDate(got), fuzzNow); got.Year() >= 1 && got.Year() <= 9999 && (!ok || !again.Equal(got)) {
			t.Fatalf("%q is %v, written down %v %v", s, got, again, ok)
		}
		// Whatever it takes, the standard library takes too, in the spelling that it knows: the day may be any, and so may be the case.
		if std, err := http.ParseTime(s); err == nil && !std.Equal(got) && !strings.Contains(s, "-") {
			t.Fatalf("%q is %v, not %v", s, got, std)
		}
	})
}

func FuzzPreconditions(f *testing.F) {
	f.Add(`"a", W/"b"`, `"b"`, "Sun, 06 Nov 1994 08:49:37 GMT", "bytes=0-1", 10)
	f.Add(`*`, `W/"b"`, "", "bytes=-5", 3)
	f.Fuzz(func(t *testing.T, tags, tag, date, ranges string, size int) {
		if size < 0 {
			return
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["If-None-Match"], r.Header["If-Modified-Since"], r.Header["If-Range"] = []string{tags}, []string{date}, []string{tag}
		h := http.Header{"Etag": {tag}, "Last-Modified": {date}}
		notModified(r, h, fuzzNow)
		rangeApplies(r, h, fuzzNow)
		if parsed, rest, ok := parseETag(tag); ok && rest == "" {
			if !matchesAny([]string{`"x` + tag[1:], tag}, parsed, true) && !parsed.weak {
				t.Fatalf("%q does not match itself", tag)
			}
		}
		kind, start, length := parseRange([]string{ranges}, size)
		if kind == partRange && (start < 0 || length < 1 || start+length > size) {
			t.Fatalf("%q of %d bytes: %d from %d", ranges, size, length, start)
		}
	})
}

func FuzzKey(f *testing.F) {
	f.Add("/a?b=1&a=2", "/a?a=2&b=1", "x", "y")
	f.Add("/a%20b?q=%zz&&", "/a b", "#@key=", "%23")
	f.Add("http://x/a?utm_a=1", "//x", "\x00", "\r\nX: y")
	f.Add("//A@", "0", "", "?")
	o := &Options{KeyHeaders: []string{"A", "B"}, IgnoreParams: []string{"utm_*"}, Key: func(r *http.Request) string { return r.Header.Get("B") }}
	f.Fuzz(func(t *testing.T, uri1, uri2, a, b string) {
		make := func(uri, a, b string) *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.RequestURI = uri
			r.Header["A"], r.Header["B"] = []string{a}, []string{b}
			if u, err := url.ParseRequestURI(uri); err == nil {
				r.URL = u
			}
			return r
		}
		if uri1 == "" || uri2 == "" {
			return
		}
		k1, ok1 := o.keyOf(make(uri1, a, b))
		k2, ok2 := o.keyOf(make(uri2, b, a))
		if ok1 && ok2 && k1 == k2 && a != b {
			t.Fatalf("%q and %q have the key %v", uri1, uri2, k1)
		}
		for _, k := range []key{k1, k2} {
			if strings.Contains(k.Path, "#") || strings.ContainsAny(k.Path, "\r\n ") {
				t.Fatalf("path %q", k.Path)
			}
		}
		// Purging a URL reaches what is stored of it. What begins with two slashes names a host, or a user.
		u, err := url.Parse(uri1)
		if ok1 && err == nil && u.Host == "" && u.User == nil && strings.HasPrefix(uri1, "/") && u.String() == uri1 {
			if path, err := o.purgePath(uri1); err != nil || path != k1.Path {
				t.Fatalf("%q is stored under %q, and purged at %q: %v", uri1, k1.Path, path, err)
			}
		}
	})
}

func FuzzStored(f *testing.F) {
	for _, e := range []*entry{
		{kind: isPass, id: 1}, {kind: isAnswer, id: 2, status: 204, made: micro(fuzzNow)}, sample("body"),
	} {
		f.Add(e.append(nil))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		e, ok := parseStored(data)
		if !bytes.Equal(data, before) {
			t.Fatal("the data was changed")
		}
		if !ok {
			return
		}
		again, ok := parseStored(e.append(nil))
		if !ok || !reflect.DeepEqual(e, again) {
			t.Fatalf("%+v, again %+v", e, again)
		}
		if e.kind != isAnswer {
			return
		}
		if e.status < 200 || e.status > 999 {
			t.Fatalf("status %d", e.status)
		}
		// Whatever it is, serving it ends no header early, and never panics.
		w := httptest.NewRecorder()
		(&Options{Name: "c", Header: "X-Cache"}).serveStored(w, httptest.NewRequest("GET", "/", nil), e, fuzzNow, how{})
		for name, values := range w.Header() {
			for _, v := range values {
				if !isToken(name) || strings.ContainsAny(v, "\r\n\x00") {
					t.Fatalf("header %q: %q", name, v)
				}
			}
		}
		e.judgeUse(fuzzNow, &requestDirectives{})
	})
}

func sample(body string) *entry {
	return &entry{
		kind: isAnswer, id: 3, status: 200, made: micro(fuzzNow), initialAge: time.Second, lifetime: OneMinute,
		staleWhileRevalidate: OneMinute, staleIfError: OneHour, clientFor: OneMinute, entryFlags: entryFlags{noStale: true, madeETag: true},
		vary: []string{"Accept", "Cookie"}, selector: selector{1, 2, 3},
		header: []field{{"Content-Type", []string{"text/plain"}, false}, {"Gone", nil, false}, {"X-A", []string{"1", "2"}, true}},
		body:   []byte(body),
	}
}

// FuzzHeaders lets a handler set any header, and looks at what comes out of the store.
func FuzzHeaders(f *testing.F) {
	f.Add("X-A", "1", "X-B", "2\r\nX-C: 3")
	f.Add("Connection", "X-B", "X-B", "x")
	f.Add("x-lower", "1", "Content-Length", "3")
	f.Add("Vary", "a, *", "Cache-Control", "no-store")
	f.Add("Age", "1", "Trailer:X", "2")
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2 string) {
		outer := http.Header{"X-Outer": {"1"}}
		h := http.Header{"X-Outer": {"1"}, "Cache-Control": {"max-age=60"}}
		h[name1] = append(h[name1], value1)
		h[name2] = append(h[name2], value2)
		o := Options{}
		o.setDefaults()
		v := o.judge(&response{status: 200, header: h, request: httptest.NewRequest("GET", "/", nil).WithContext(context.Background()), began: fuzzNow, now: fuzzNow, declared: -1})
		fields, ok := fieldsOf(h, outer, v.withheld)
		if !v.store || !ok {
			return
		}
		e := v.entry
		e.header = fields
		again, ok := parseStored(e.append(nil))
		if !ok {
			t.Fatalf("%+v can't be read again", e)
		}
		got := http.Header{"X-Outer": {"1"}}
		again.writeHeader(got)
		for name, values := range got {
			if !reflect.DeepEqual(values, h[name]) {
				t.Fatalf("%s: %q became %q", name, h[name], values)
			}
		}
	})
}
