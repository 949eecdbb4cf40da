package redistest

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// echo sends text and says whether it came back within d.
func echo(t *testing.T, conn net.Conn, text string, d time.Duration) bool {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		return false
	}
	return back(t, conn, text, d)
}

func back(t *testing.T, conn net.Conn, text string, d time.Duration) bool {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, len(text))
	_, err := io.ReadFull(conn, buf)
	return err == nil && string(buf) == text
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// startEcho starts a server that sends back what it gets.
func startEcho(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return l.Addr().String()
}

const (
	long  = 5 * time.Second        // must not run out
	short = 100 * time.Millisecond // must run out
)

func TestProxyCut(t *testing.T) {
	p := StartProxy(t, startEcho(t))
	conns := []net.Conn{dial(t, p.Addr()), dial(t, p.Addr())}
	for _, conn := range conns {
		if !echo(t, conn, "hello", long) {
			t.Fatal("no echo")
		}
	}
	p.Cut()
	p.Cut()
	for _, conn := range conns {
		if err := conn.SetReadDeadline(time.Now().Add(long)); err != nil {
			t.Fatal(err)
		}
		var timeout net.Error
		if _, err := conn.Read(make([]byte, 1)); err == nil || errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("after Cut: %v", err)
		}
	}
	if !echo(t, dial(t, p.Addr()), "again", long) {
		t.Error("no echo on a new connection")
	}
}

func TestProxyRefuse(t *testing.T) {
	p := StartProxy(t, startEcho(t))
	conn := dial(t, p.Addr())
	if !echo(t, conn, "hello", long) {
		t.Fatal("no echo")
	}
	for range 2 {
		p.Refuse(true)
	}
	if _, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dial: %v", err)
	}
	if !echo(t, conn, "still there", long) {
		t.Error("the old connection is gone")
	}
	for range 2 {
		p.Refuse(false)
	}
	if !echo(t, dial(t, p.Addr()), "again", long) {
		t.Error("no echo on a new connection")
	}
}

func TestProxyStall(t *testing.T) {
	p := StartProxy(t, startEcho(t))
	old := dial(t, p.Addr())
	if !echo(t, old, "hello", long) {
		t.Fatal("no echo")
	}
	for range 2 {
		p.Stall(true)
	}
	fresh := dial(t, p.Addr())
	for _, conn := range []net.Conn{old, fresh} {
		if echo(t, conn, "held", short) {
			t.Error("an echo in a stall")
		}
	}
	for range 2 {
		p.Stall(false)
	}
	for _, conn := range []net.Conn{old, fresh} {
		if !back(t, conn, "held", long) {
			t.Error("what was held back is lost")
		}
	}
	p.Stall(true)
	p.Cut() // and the end of the test must not wait for what is held back
}

func TestProxyDelay(t *testing.T) {
	p := StartProxy(t, startEcho(t))
	conn := dial(t, p.Addr())
	p.Delay(short)
	start := time.Now()
	go func() {
		for range 10 { // one piece each, all on their way at the same time
			_, _ = io.WriteString(conn, "x")
			time.Sleep(5 * time.Millisecond)
		}
	}()
	if !back(t, conn, "xxxxxxxxxx", long) {
		t.Fatal("no echo")
	}
	if d := time.Since(start); d < short || d > 10*short {
		t.Errorf("ten pieces took %v", d)
	}
	p.Delay(0)
	if !echo(t, conn, "quick", long) {
		t.Error("no echo")
	}
}

func TestProxyWithoutTarget(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	if echo(t, dial(t, StartProxy(t, loopback(port)).Addr()), "x", long) {
		t.Error("an echo from nowhere")
	}
}

func TestProxyToAServer(t *testing.T) {
	rdb, m := Mini(t)
	p := StartProxy(t, m.Addr())
	through := NewClient(t, p.Addr(), func(o *redis.Options) { o.MaxRetries = -1 })
	if err := through.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if v, err := rdb.Get(t.Context(), "k").Result(); v != "v" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
}
