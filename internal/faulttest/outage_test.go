package faulttest

import (
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

// The phases of a test. What begins in one counts for it.
const (
	before      = "before"
	fault       = "fault"
	breakerOpen = "breaker open"
	after       = "after"
)

// TestOutage takes the server or the connections to it away in the middle of traffic and gives them back.
func TestOutage(t *testing.T) {
	type (
		server = redistest.Server
		proxy  = redistest.Proxy
	)
	for _, test := range []struct {
		name       string
		proxied    bool
		begin, end func(*server, *proxy)
	}{
		{"SIGKILL", false, func(s *server, _ *proxy) { s.Kill() }, func(s *server, _ *proxy) { s.Restart() }},
		{"SIGSTOP", false, func(s *server, _ *proxy) { s.Stop() }, func(s *server, _ *proxy) { s.Cont() }},
		{"connections refused", true, func(_ *server, p *proxy) { p.Refuse(true); p.Cut() }, func(_ *server, p *proxy) { p.Refuse(false) }},
		{"connections stalled", true, func(_ *server, p *proxy) { p.Stall(true) }, func(_ *server, p *proxy) { p.Stall(false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				s := redistest.Start(t)
				p := redistest.StartProxy(t, s.Addr())
				addr := s.Addr()
				if test.proxied {
					addr = p.Addr()
				}
				tr := startTraffic(t, w, redistest.NewClient(t, addr), redistest.NewClient(t, addr))
				time.Sleep(200 * time.Millisecond) // of undisturbed traffic
				tr.enter(fault)
				test.begin(s, p)
				opened := eventually(t, resumed, "the breaker opens", tr.open)
				tr.enter(breakerOpen)
				time.Sleep(500 * time.Millisecond) // of the outage
				tr.enter(after)
				hit := tr.hit()
				test.end(s, p)
				hits := eventually(t, resumed, "hits after the end of the outage", hit)
				time.Sleep(300 * time.Millisecond) // for what the outage may have left behind
				tr.finish()
				t.Logf("the breaker had opened after %v; hits resumed %v after the end", opened, hits)
			})
		})
	}
}

// TestShortFault has faults that are over before a breaker needs to open.
func TestShortFault(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault func(*redistest.Server, *redistest.Proxy)
	}{
		{"restart", func(s *redistest.Server, _ *redistest.Proxy) { s.Restart() }},
		{"connections cut", func(_ *redistest.Server, p *redistest.Proxy) {
			for range 10 {
				p.Cut()
				time.Sleep(20 * time.Millisecond)
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				proxy := redistest.StartProxy(t, server.Addr())
				tr := startTraffic(t, w, server.Client(t), redistest.NewClient(t, proxy.Addr()))
				tr.extra = freeing
				time.Sleep(200 * time.Millisecond)
				tr.enter(fault)
				test.fault(server, proxy)
				tr.enter(after)
				hits := eventually(t, resumed, "hits", tr.hit())
				time.Sleep(200 * time.Millisecond)
				tr.finish()
				t.Logf("hits resumed %v after the fault", hits)
			})
		})
	}
}
