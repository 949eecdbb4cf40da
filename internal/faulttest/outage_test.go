package faulttest

import (
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

// The phases of an outage.
const (
	noticed     = "outage"
	breakerOpen = "breaker open"
	back        = "after"
)

// TestServerOutage takes the server away in the middle of traffic and gives it back.
func TestServerOutage(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end func(*redistest.Server)
	}{
		{"SIGKILL", (*redistest.Server).Kill, (*redistest.Server).Restart},
		{"SIGSTOP", (*redistest.Server).Stop, (*redistest.Server).Cont},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t)
			tr := startTraffic(t, server.Client(t), server.Client(t))
			outage(t, tr, func() { test.begin(server) }, func() { test.end(server) })
		})
	}
}

// TestConnectionOutage does the same to the connection.
func TestConnectionOutage(t *testing.T) {
	for _, test := range []struct {
		name       string
		begin, end func(*redistest.Proxy)
	}{
		{"refused", func(p *redistest.Proxy) { p.Refuse(true); p.Cut() }, func(p *redistest.Proxy) { p.Refuse(false) }},
		{"stalled", func(p *redistest.Proxy) { p.Stall(true) }, func(p *redistest.Proxy) { p.Stall(false) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			tr := startTraffic(t, redistest.NewClient(t, proxy.Addr()), redistest.NewClient(t, proxy.Addr()))
			outage(t, tr, func() { test.begin(proxy) }, func() { test.end(proxy) })
		})
	}
}

// outage leads tr through one.
func outage(t *testing.T, tr *traffic, begin, end func()) {
	t.Helper()
	time.Sleep(200 * time.Millisecond) // of undisturbed traffic
	tr.enter(noticed)
	begin()
	opened := eventually(t, resumed, "the breaker opens", tr.open)
	tr.enter(breakerOpen)
	time.Sleep(500 * time.Millisecond) // of the outage
	tr.enter(back)
	hit := tr.hit()
	end()
	hits := eventually(t, resumed, "hits after the end of the outage", hit)
	time.Sleep(300 * time.Millisecond) // for what the outage may have left behind
	tr.finish()
	t.Logf("the breaker had opened after %v; hits resumed %v after the end", opened, hits)
}

// TestShortFaults are those that are over before they begin to cost anything.
func TestShortFaults(t *testing.T) {
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
			server := redistest.Start(t)
			proxy := redistest.StartProxy(t, server.Addr())
			tr := startTraffic(t, server.Client(t), redistest.NewClient(t, proxy.Addr()))
			time.Sleep(200 * time.Millisecond)
			tr.enter(noticed)
			test.fault(server, proxy)
			tr.enter(back)
			hits := eventually(t, resumed, "hits", tr.hit())
			time.Sleep(200 * time.Millisecond)
			tr.finish()
			t.Logf("hits resumed %v after the fault", hits)
		})
	}
}
