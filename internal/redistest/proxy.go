package redistest

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// A Proxy stands between a client and a server and misbehaves on demand. Its methods are safe for concurrent
// use and may be called any number of times.
type Proxy struct {
	t      testing.TB
	addr   string
	target string
	ctx    context.Context // ends with the test
	tasks  sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: refuses
	links    map[*link]struct{}
	flow     chan struct{} // closed unless stalled
	stalled  bool
	delay    time.Duration
}

// A link is one connection of a client and, once that stands, the one that goes on to the target.
type link struct {
	client net.Conn
	ctx    context.Context // ends when the link does
	cancel func()
}

func (l *link) close() {
	l.cancel()
	_ = l.client.Close() // the server's side follows
}

// StartProxy starts a proxy to the TCP address target on a loopback port of its own. It needs no redis-server.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{t: t, addr: loopback(port), target: target, ctx: ctx, links: make(map[*link]struct{}), flow: make(chan struct{})}
	close(p.flow)
	t.Cleanup(func() {
		cancel()
		p.Refuse(true)
		p.Cut()
		p.tasks.Wait()
	})
	p.Refuse(false)
	return p
}

// Addr is the address to connect to instead of the target's.
func (p *Proxy) Addr() string { return p.addr }

// Cut closes all connections of the moment. New ones are welcome.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Refuse(true) has new connections refused, as by a server that is down. Those that stand go on.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && p.listener != nil:
		_ = p.listener.Close()
		p.listener = nil
	case !on && p.listener == nil:
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			p.t.Errorf("proxy: %v", err)
			return
		}
		p.listener = l
		p.tasks.Go(func() { p.accept(l) })
	}
}

// Stall(true) holds back what clients and server send from now on, on new connections as well: they are
// accepted, and silent. Stall(false) sends it on.
func (p *Proxy) Stall(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case on && !p.stalled:
		p.flow = make(chan struct{})
	case !on && p.stalled:
		close(p.flow)
	}
	p.stalled = on
}

// Delay has whatever a client sends from now on arrive d later, so that each round trip takes d longer. The
// throughput stays.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				p.t.Errorf("proxy: %v", err)
			}
			return
		}
		if link := p.open(l, conn); link != nil {
			p.tasks.Go(func() { p.serve(link) })
		}
	}
}

// open gives nil if the proxy refuses by now: no connection slips through behind Refuse and Cut.
func (p *Proxy) open(from net.Listener, client net.Conn) *link {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != from {
		_ = client.Close()
		return nil
	}
	l := &link{client: client}
	l.ctx, l.cancel = context.WithCancel(p.ctx)
	p.links[l] = struct{}{}
	return l
}

// serve forwards both ways until either end or Cut closes the link.
func (p *Proxy) serve(l *link) {
	defer func() {
		l.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, l)
	}()
	server, err := (&net.Dialer{}).DialContext(l.ctx, "tcp", p.target)
	if err != nil {
		return // the client sees its connection closed: the target is down
	}
	var ways sync.WaitGroup
	ways.Go(func() { p.forward(l, server, l.client, p.requestDelay) })
	ways.Go(func() { p.forward(l, l.client, server, func() time.Duration { return 0 }) })
	ways.Wait()
}

func (p *Proxy) requestDelay() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay
}

func (p *Proxy) flowing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flow
}

// A piece is what came in one read, and when it is due at the other end.
type piece struct {
	bytes []byte
	due   time.Time
}

// forward reads and writes in two goroutines: a delayed piece must not hold up the next one's clock. When one
// of them ends, so does the link.
func (p *Proxy) forward(l *link, to, from net.Conn, delay func() time.Duration) {
	end := func() {
		l.cancel()
		_ = to.Close()
		_ = from.Close()
	}
	defer end()
	pieces := make(chan piece, 1024)
	defer close(pieces)
	p.tasks.Go(func() {
		defer end()
		for piece := range pieces {
			if !p.hold(l.ctx, piece.due) {
				return
			}
			if _, err := to.Write(piece.bytes); err != nil {
				return
			}
		}
	})
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case pieces <- piece{buf[:n], time.Now().Add(delay())}:
		case <-l.ctx.Done():
			return
		}
	}
}

// hold waits until due and until nothing is stalled, and says whether the link still stands.
func (p *Proxy) hold(ctx context.Context, due time.Time) bool {
	if wait := time.Until(due); wait > 0 {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
	select {
	case <-p.flowing():
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
