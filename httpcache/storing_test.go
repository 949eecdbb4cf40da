package httpcache

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a handler says, and whether its answer is used again without asking it.
var storingRules = []struct {
	name    string
	status  int
	headers []string
	hit     bool
}{
	{"nothing said", 200, nil, false},
	{"max-age", 200, []string{"Cache-Control: max-age=60"}, true},
	{"max-age in any case", 200, []string{"Cache-Control: MaX-aGe=60"}, true},
	{"max-age=0", 200, []string{"Cache-Control: max-age=0"}, false},
	{"max-age with leading zeros", 200, []string{"Cache-Control: max-age=00060"}, true},
	{"max-age beyond 32 bits", 200, []string{"Cache-Control: max-age=99999999999"}, true},
	{"max-age negative", 200, []string{"Cache-Control: max-age=-60"}, false},
	{"max-age with a fraction", 200, []string{"Cache-Control: max-age=60.0"}, false},
	{"max-age that is no number", 200, []string{"Cache-Control: max-age=60a"}, false},
	{"max-age without a value", 200, []string{"Cache-Control: max-age"}, false},
	{"max-age in quotes", 200, []string{`Cache-Control: max-age="60"`}, true},
	{"max-age in single quotes", 200, []string{`Cache-Control: max-age='60'`}, false},
	{"space before =", 200, []string{"Cache-Control: max-age =60"}, false},
	{"space after =", 200, []string{"Cache-Control: max-age= 60"}, false},
	{"semicolon for comma", 200, []string{"Cache-Control: max-age=60; private"}, false},
	{"the same twice", 200, []string{"Cache-Control: max-age=60, max-age=60"}, true},
	{"two that differ", 200, []string{"Cache-Control: max-age=60, max-age=70"}, false},
	{"two that differ, on two lines", 200, []string{"Cache-Control: max-age=60", "Cache-Control: max-age=70"}, false},
	{"extension", 200, []string{`Cache-Control: foo, bar="a, no-store", max-age=60`}, true},
	{"max-age within an extension", 200, []string{`Cache-Control: foo="max-age=60", max-age=0`}, false},
	{"no-store within an unclosed string", 200, []string{`Cache-Control: max-age=60, foo="no-store`}, false},
	{"empty elements", 200, []string{"Cache-Control: ,, max-age=60 ,"}, true},
	{"s-maxage", 200, []string{"Cache-Control: s-maxage=60"}, true},
	{"s-maxage before max-age", 200, []string{"Cache-Control: max-age=60, s-maxage=0"}, false},
	{"s-maxage over max-age", 200, []string{"Cache-Control: max-age=0, s-maxage=60"}, true},
	{"s-maxage on a second line", 200, []string{"Cache-Control: max-age=60", "Cache-Control: s-maxage=0"}, false},
	{"no-store", 200, []string{"Cache-Control: max-age=60, no-store"}, false},
	{"no-store in any case", 200, []string{"Cache-Control: max-age=60, No-StOrE"}, false},
	{"private", 200, []string{"Cache-Control: max-age=60, private"}, false},
	{"private for a header", 200, []string{`Cache-Control: max-age=60, private="x-user"`, "X-User: ann"}, true},
	{"private for names that are none", 200, []string{`Cache-Control: max-age=60, private="x user"`}, false},
	{"private for nothing", 200, []string{`Cache-Control: max-age=60, private=""`}, false},
	{"no-cache", 200, []string{"Cache-Control: max-age=60, no-cache"}, false},
	{"no-cache for a header", 200, []string{`Cache-Control: max-age=60, no-cache="x-user"`}, true},
	{"no-cache for a header, and for all", 200, []string{`Cache-Control: max-age=60, no-cache="x-user", no-cache`}, false},
	{"must-revalidate", 200, []string{"Cache-Control: max-age=60, must-revalidate"}, true},
	{"must-understand, understood", 200, []string{"Cache-Control: max-age=60, no-store, must-understand"}, true},
	{"must-understand, not understood", 299, []string{"Cache-Control: max-age=60, no-store, must-understand"}, false},
	{"must-understand without no-store, not understood", 299, []string{"Cache-Control: max-age=60, must-understand"}, false},
	{"Expires", 200, []string{"Expires: $+60"}, true},
	{"Expires of the past", 200, []string{"Expires: $-60"}, false},
	{"Expires of now", 200, []string{"Expires: $+0"}, false},
	{"Expires 0", 200, []string{"Expires: 0"}, false},
	{"Expires -1", 200, []string{"Expires: -1"}, false},
	{"Expires 0 under max-age", 200, []string{"Expires: 0", "Cache-Control: max-age=60"}, true},
	{"Expires twice", 200, []string{"Expires: $+60", "Expires: $+70"}, false},
	{"Expires over max-age=0", 200, []string{"Expires: $+60", "Cache-Control: max-age=0"}, false},
	{"Expires in another zone", 200, []string{"Expires: Thu, 18 Aug 2050 02:01:18 UTC"}, false},
	{"Expires with a year of two digits", 200, []string{"Expires: Thu, 18 Aug 50 02:01:18 GMT"}, false},
	{"Expires by RFC 850", 200, []string{"Expires: Thursday, 18-Aug-50 02:01:18 GMT"}, true},
	{"Expires by asctime", 200, []string{"Expires: Thu Aug 18 02:01:18 2050"}, true},
	{"Expires older than Date", 200, []string{"Date: $+400", "Expires: $+300"}, false},
	{"Expires with a Date that is none", 200, []string{"Date: foo", "Expires: $+60"}, true},
	{"Age below max-age", 200, []string{"Cache-Control: max-age=60", "Age: 30"}, true},
	{"Age above max-age", 200, []string{"Cache-Control: max-age=60", "Age: 120"}, false},
	{"Age, the first counts", 200, []string{"Cache-Control: max-age=60", "Age: 0, 120"}, true},
	{"Age, the first counts, on two lines", 200, []string{"Cache-Control: max-age=60", "Age: 120", "Age: 0"}, false},
	{"Age that is no number", 200, []string{"Cache-Control: max-age=60", "Age: abc"}, true},
	{"Age negative", 200, []string{"Cache-Control: max-age=60", "Age: -120"}, true},
	{"Age beyond 32 bits", 200, []string{"Cache-Control: max-age=60", "Age: 99999999999999999999"}, false},
	{"Date of the past", 200, []string{"Cache-Control: max-age=60", "Date: $-120"}, false},
	{"Last-Modified alone: no heuristics", 200, []string{"Last-Modified: $-86400"}, false},
	{"public alone", 200, []string{"Cache-Control: public"}, false},
	{"204", 204, []string{"Cache-Control: max-age=60"}, true},
	{"301", 301, []string{"Cache-Control: max-age=60", "Location: /b"}, true},
	{"302", 302, []string{"Cache-Control: max-age=60", "Location: /b"}, true},
	{"404", 404, []string{"Cache-Control: max-age=60"}, true},
	{"500", 500, []string{"Cache-Control: max-age=60"}, true},
	{"599", 599, []string{"Cache-Control: max-age=60"}, true},
	{"206 without a Range", 206, []string{"Cache-Control: max-age=60", "Content-Range: bytes 0-4/10"}, false},
	{"304 without a condition", 304, []string{"Cache-Control: max-age=60"}, false},
	{"Set-Cookie", 200, []string{"Cache-Control: max-age=60", "Set-Cookie: a=b"}, false},
	{"Set-Cookie that is withheld", 200, []string{`Cache-Control: max-age=60, no-cache="Set-Cookie"`, "Set-Cookie: a=b"}, true},
	{"Vary: *", 200, []string{"Cache-Control: max-age=60", "Vary: *"}, false},
	{"Vary: * on a second line", 200, []string{"Cache-Control: max-age=60", "Vary: A", "Vary: , *"}, false},
	{"Vary that is no list", 200, []string{"Cache-Control: max-age=60", "Vary: a b"}, false},
	{"Vary by many", 200, []string{"Cache-Control: max-age=60", "Vary: a,b,c,d,e,f,g,h,i"}, false},
	{"events", 200, []string{"Cache-Control: max-age=60", "Content-Type: text/event-stream; charset=utf-8"}, false},
	{"trailers", 200, []string{"Cache-Control: max-age=60", "Trailer: X-Sum"}, false},
	{"Content-Disposition", 200, []string{"Cache-Control: max-age=60", "Content-Disposition: attachment"}, true},
	{"Pragma is not for answers", 200, []string{"Cache-Control: max-age=60", "Pragma: no-cache"}, true},
}

func dated(headers []string) []string {
	var out []string
	for _, line := range headers {
		if name, offset, ok := strings.Cut(line, ": $"); ok {
			var seconds int
			_, _ = fmt.Sscan(strings.TrimPrefix(offset, "+"), &seconds)
			line = name + ": " + ago(-time.Duration(seconds)*time.Second)
		}
		out = append(out, line)
	}
	return out
}

func TestStoring(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		for i, rule := range storingRules {
			path := fmt.Sprintf("/%d", i)
			s.says(rule.status, "", dated(rule.headers)...)
			first := s.ask(path)
			second := s.ask(path)
			if first.header.Get("X-Cache") != "Miss" || !first.ran || first.status != rule.status {
				t.Errorf("%s: first: %d %v", rule.name, first.status, first.header)
			}
			if (second.header.Get("X-Cache") == "Hit") != rule.hit || second.ran == rule.hit || second.status != rule.status {
				t.Errorf("%s: hit %v, want %v (%v, then %v)", rule.name, !second.ran, rule.hit, first.header["Cache-Status"], second.header["Cache-Status"])
			}
			if rule.hit && second.body != first.body {
				t.Errorf("%s: %q became %q", rule.name, first.body, second.body)
			}
		}
	})
}

func TestTTLStoresWhatSaysNothing(t *testing.T) {
	everywhere(t, &Options{TTL: OneMinute}, func(t *testing.T, s *site) {
		for _, status := range []int{200, 203, 204, 300, 301, 308} {
			path := fmt.Sprintf("/%d", status)
			s.says(status, "")
			s.ask(path).miss().code(status)
			s.ask(path).hit().code(status)
		}
		for _, status := range []int{201, 302, 400, 401, 403, 404, 410, 500, 502, 503} {
			path := fmt.Sprintf("/%d", status)
			s.says(status, "")
			s.ask(path).miss().code(status)
			s.ask(path).miss().code(status)
		}
		s.says(200, "", "Cache-Control: max-age=0")
		s.ask("/said").miss()
		s.ask("/said").miss()
		s.says(200, "", "Expires: 0")
		s.ask("/expires").miss()
		s.ask("/expires").miss()
		s.says(200, "", "Cache-Control: public")
		s.ask("/public").miss()
		s.ask("/public").hit()
	})
}

func TestHeadersOfHits(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.says(200, "content", "Cache-Control: max-age=100", "Age: 30", "X-A: 1", "X-A: 2", "X-B: 3",
			"Keep-Alive: x", "Proxy-Authenticate: x", "Proxy-Connection: x", "Te: trailers", "Content-Md5: y", "Clear-Site-Data: cookies")
		first := s.ask("/").miss()
		rep := s.ask("/").hit().content("content").has("Cache-Control: max-age=100", "X-B: 3", "Content-Length: 7", "Content-Md5: y",
			"Clear-Site-Data: cookies", "Content-Type: text/plain; charset=utf-8", "Keep-Alive", "Proxy-Authenticate", "Proxy-Connection", "Te")
		rep.has("Date: "+first.header.Get("Date"), "Expires: "+first.header.Get("Expires"), "Etag: "+first.header.Get("Etag"))
		if a := rep.header.Values("X-A"); len(a) != 2 || a[0] != "1" || a[1] != "2" {
			t.Errorf("X-A is %q", a)
		}
		if age, err := strconv.Atoi(rep.header.Get("Age")); err != nil || age < 30 || age >= 100 {
			t.Errorf("Age is %q", rep.header["Age"])
		}
		first.has("Age: 30") // what the handler says about itself
		rep.told("hit")
		first.told("fwd=uri-miss", "stored")
	})
}

func TestConnectionHeadersAreNotStored(t *testing.T) {
	s := inMemory(t, nil)
	s.says(200, "", "Cache-Control: max-age=100", "Connection: X-A, x-b", "X-A: 1", "X-B: 2", "X-C: 3")
	s.ask("/").miss()
	s.ask("/").hit().has("X-A", "X-B", "X-C: 3")
}

func TestClientLifetimes(t *testing.T) {
	for _, test := range []struct {
		name         string
		opts         Options
		headers      []string
		cacheControl string
		expires      time.Duration // after Date
	}{
		{"they ask each time", Options{TTL: OneMinute}, nil, "no-cache", 0},
		{"a time of their own", Options{TTL: OneHour, ClientTTL: OneMinute}, nil, "max-age=60", OneMinute},
		{"not longer than the store", Options{TTL: OneMinute, ClientTTL: OneHour}, nil, "max-age=60", OneMinute},
		{"what the handler says", Options{TTL: OneHour, ClientTTL: OneMinute}, []string{"Cache-Control: max-age=7"}, "max-age=7", 7 * time.Second},
		{"what the handler says, without max-age", Options{TTL: OneHour, ClientTTL: OneMinute}, []string{"Cache-Control: s-maxage=7"}, "s-maxage=7", 0},
		{"Expires alone", Options{}, []string{"Expires: $+30"}, "max-age=30", 30 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := inMemory(t, &test.opts)
			s.handle(func(w http.ResponseWriter, r *http.Request) {
				now := time.Now()
				w.Header().Set("Date", httpDate(now))
				for _, line := range dated(test.headers) {
					name, value, _ := strings.Cut(line, ": ")
					w.Header().Set(name, value)
				}
				if w.Header().Get("Expires") != "" {
					w.Header().Set("Expires", httpDate(now.Add(test.expires)))
				}
				_, _ = w.Write([]byte("x"))
			})
			for _, rep := range []*reply{s.ask("/").miss(), s.ask("/").hit()} {
				rep.has("Cache-Control: " + test.cacheControl)
				date, err := http.ParseTime(rep.header.Get("Date"))
				noError(t, err)
				expires, err := http.ParseTime(rep.header.Get("Expires"))
				noError(t, err)
				if d := expires.Sub(date); d.Abs() > test.expires+time.Second || d < test.expires-time.Second {
					t.Errorf("Expires is %v after Date", d)
				}
				if rep.header.Get("Etag") == "" {
					t.Error("no ETag")
				}
			}
		})
	}
}

func TestHandlersDecide(t *testing.T) {
	everywhere(t, nil, func(t *testing.T, s *site) {
		s.handle(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/ttl":
				SetTTL(r, OneMinute)
			case "/zero":
				w.Header().Set("Cache-Control", "max-age=60")
				SetTTL(r, 0)
			case "/nostore":
				SetTTL(r, OneMinute)
				NoStore(r)
			case "/late":
				SetTTL(r, OneMinute)
				_, _ = w.Write(make([]byte, 10_000))
				NoStore(r)
			case "/private":
				w.Header().Set("Cache-Control", "private")
				SetTTL(r, OneMinute)
			case "/404":
				SetTTL(r, OneMinute)
				w.WriteHeader(404)
			}
			_, _ = w.Write([]byte("x"))
		})
		for path, hit := range map[string]bool{"/ttl": true, "/zero": false, "/nostore": false, "/late": false, "/private": false, "/404": true} {
			s.ask(path).miss()
			if rep := s.ask(path); rep.ran == hit {
				t.Errorf("%s: hit %v, want %v", path, !rep.ran, hit)
			}
		}
	})
}

func TestDecisionsOutsideOfAHandler(t *testing.T) {
	r, err := http.NewRequest("GET", "/", nil)
	noError(t, err)
	SetTTL(r, OneMinute)
	NoStore(r)
	AddTags(r, "a")
}
