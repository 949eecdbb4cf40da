package httpcache

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// heldBytes is how much of an answer that may be stored is held back until it is known whether there is more: as much as
// net/http holds back itself, to find the Content-Length. A shorter answer goes out with an ETag of its content.
const heldBytes = 2048

// A fate is what becomes of an answer.
type fate int

const (
	passes  fate = iota // it goes to the client
	copies              // it goes to the client, and a copy is kept
	swallow             // it does not: the client gets a stored answer
)

// A recorder is the ResponseWriter of a handler. What it is to do with an answer it asks for once, when the handler has written the
// header.
type recorder struct {
	w http.ResponseWriter

	// decide says what becomes of the answer. Of one that passes it may change the header, and reply. h is the handler's.
	decide func(status int, h http.Header) fate

	// complete is called before the header of an answer that is copied goes out. whole: the body is there to its end. It makes the
	// header that is sent, and may set reply to 304 if the client has the content already.
	complete func(whole bool)

	overflow func() // the body is too long to be kept
	leaving  func() // something is about to leave for the client; may be nil

	gone context.Context // ends when the client has gone

	status   int         // of the handler
	reply    int         // of the answer that the client gets; if it is another, there is no body
	header   http.Header // of answers that are not passed on: what the handler had set when it wrote the header
	fate     fate
	wrote    bool // the handler has written its header
	sent     bool // the client gets it
	mute     bool // and nothing more
	hijacked bool
	retired  bool // the handler has returned or panicked

	body     []byte
	copying  bool
	limit    int
	declared int64 // Content-Length, -1 if there is none
	written  int64
	broken   bool // the body is not what the handler wanted to write, or did not reach the client

	abandoned atomic.Bool // it takes too long: copy no more
}

var (
	_ http.Flusher    = (*recorder)(nil)
	_ http.Hijacker   = (*recorder)(nil)
	_ http.Pusher     = (*recorder)(nil)
	_ io.ReaderFrom   = (*recorder)(nil)
	_ io.StringWriter = (*recorder)(nil)
)

func (rec *recorder) Header() http.Header { return rec.w.Header() }

// Unwrap is for http.ResponseController.
func (rec *recorder) Unwrap() http.ResponseWriter { return rec.w }

func (rec *recorder) WriteHeader(status int) {
	switch {
	case rec.hijacked, rec.wrote && rec.sent, status < 100 || status > 999, status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		rec.w.WriteHeader(status) // a mistake that net/http knows what to do about, or an interim response
		return
	case rec.wrote:
		return
	}
	rec.note(status)
	if rec.fate == passes {
		rec.sendHeader()
	}
}

func (rec *recorder) sendHeader() {
	rec.sent, rec.mute = true, rec.reply != rec.status
	rec.w.WriteHeader(rec.reply)
}

// note is what WriteHeader does before anything is sent.
func (rec *recorder) note(status int) {
	h := rec.w.Header()
	rec.wrote, rec.status, rec.reply, rec.declared = true, status, status, contentLength(h)
	if rec.retired {
		return // whatever comes, passes
	}
	rec.fate = rec.decide(status, h)
	if rec.fate != passes {
		rec.header = h.Clone()
	}
	rec.copying = rec.fate == copies
}

func contentLength(h http.Header) int64 {
	if lines := h["Content-Length"]; len(lines) == 1 {
		if n, err := strconv.ParseInt(lines[0], 10, 64); err == nil && n >= 0 {
			return n
		}
	}
	return -1
}

func hasNoBody(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified || status == http.StatusSwitchingProtocols
}

// send lets the header go, and the body as far as it was held back.
func (rec *recorder) send(whole bool) {
	rec.complete(whole)
	rec.sendHeader()
	if len(rec.body) > 0 {
		_, _ = rec.forward(rec.body)
	}
}

func (rec *recorder) holding() bool { return rec.fate == copies && !rec.sent }

// admit looks at n bytes of the body before they are written.
func (rec *recorder) admit(n int) error {
	if rec.hijacked {
		return http.ErrHijacked
	}
	if !rec.wrote {
		rec.WriteHeader(http.StatusOK)
	}
	if n > 0 && hasNoBody(rec.status) {
		return http.ErrBodyNotAllowed
	}
	rec.written += int64(n)
	if rec.declared >= 0 && rec.written > rec.declared {
		rec.broken = true
		return http.ErrContentLength
	}
	return nil
}

func (rec *recorder) Write(p []byte) (int, error) {
	if err := rec.admit(len(p)); err != nil {
		return 0, err
	}
	if rec.fate == swallow {
		return len(p), nil
	}
	if rec.holding() {
		if len(rec.body)+len(p) <= min(heldBytes, rec.limit) {
			rec.body = append(rec.body, p...)
			return len(p), nil
		}
		rec.send(false)
	}
	rec.keep(p)
	return rec.forward(p)
}

// keep copies p, unless the body gets too long.
func (rec *recorder) keep(p []byte) {
	if !rec.copying {
		return
	}
	if rec.abandoned.Load() || len(rec.body)+len(p) > rec.limit {
		rec.copying, rec.body = false, nil
		rec.overflow()
		return
	}
	if rec.body == nil && rec.declared > 0 {
		rec.body = make([]byte, 0, rec.declared)
	}
	rec.body = append(rec.body, p...)
}

func (rec *recorder) forward(p []byte) (int, error) {
	if rec.mute {
		return len(p), nil
	}
	if rec.leaving != nil && rec.written > heldBytes {
		rec.leaving()
	}
	n, err := rec.w.Write(p)
	if err != nil || n < len(p) {
		rec.broken = true
	}
	return n, err
}

func (rec *recorder) WriteString(s string) (int, error) {
	w, ok := rec.w.(io.StringWriter)
	if !rec.wrote {
		rec.WriteHeader(http.StatusOK)
	}
	if !ok || rec.fate != passes || rec.mute || rec.hijacked {
		return rec.Write([]byte(s))
	}
	if err := rec.admit(len(s)); err != nil {
		return 0, err
	}
	if rec.leaving != nil && rec.written > heldBytes {
		rec.leaving()
	}
	return w.WriteString(s)
}

var buffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// ReadFrom copies src, with the means of the server's own ReadFrom (sendfile) as soon as nothing is kept.
func (rec *recorder) ReadFrom(src io.Reader) (n int64, err error) {
	if !rec.wrote && !rec.hijacked {
		rec.WriteHeader(http.StatusOK)
	}
	buf := buffers.Get().(*[32 << 10]byte)
	defer buffers.Put(buf)
	for {
		if to, ok := rec.w.(io.ReaderFrom); ok && rec.sent && !rec.copying && !rec.mute && !rec.hijacked && rec.fate != swallow {
			if rec.leaving != nil {
				rec.leaving()
			}
			m, err := to.ReadFrom(src)
			rec.written += m
			return n + m, err
		}
		m, rerr := src.Read(buf[:])
		if m > 0 {
			w, werr := rec.Write(buf[:m])
			if n += int64(w); werr != nil {
				return n, werr
			}
		}
		switch {
		case rerr == io.EOF:
			return n, nil
		case rerr != nil:
			rec.broken = true // there would have been more
			return n, rerr
		}
	}
}

// Flush sends what is there to the client.
func (rec *recorder) Flush() { _ = rec.FlushError() }

// FlushError is Flush for http.ResponseController.
func (rec *recorder) FlushError() error {
	if rec.hijacked {
		return http.ErrHijacked
	}
	if !rec.wrote {
		rec.WriteHeader(http.StatusOK)
	}
	if rec.fate == swallow {
		return nil
	}
	if rec.holding() {
		rec.send(false)
	}
	if rec.leaving != nil {
		rec.leaving()
	}
	return http.NewResponseController(rec.w).Flush()
}

// Hijack gives the connection to the handler. Nothing is stored then.
func (rec *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if rec.leaving != nil {
		rec.leaving()
	}
	conn, rw, err := http.NewResponseController(rec.w).Hijack()
	if err == nil {
		rec.hijacked, rec.broken = true, true
	}
	return conn, rw, err
}

// Push is HTTP/2 server push, where the server has it.
func (rec *recorder) Push(target string, opts *http.PushOptions) error {
	if p, ok := rec.w.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// CloseNotify is what http.CloseNotifier has, which is deprecated, and without which the streams of some frameworks panic.
func (rec *recorder) CloseNotify() <-chan bool {
	gone := make(chan bool, 1)
	context.AfterFunc(rec.gone, func() { gone <- true })
	return gone
}

// retire is called when the handler has returned or panicked. Error handlers of some frameworks still write to the recorder then: that
// goes to the client as it is. answered: the client has its answer; otherwise what was held back of one is forgotten.
func (rec *recorder) retire(answered bool) {
	rec.retired, rec.copying, rec.body = true, false, nil
	if !answered && !rec.sent {
		rec.wrote, rec.fate = false, passes
	}
}

// sendSnapshot makes h what the handler had set when it wrote the header, as net/http would have sent it then. Trailers may come
// later.
func (rec *recorder) sendSnapshot(h http.Header) {
	for name := range h {
		if _, ok := rec.header[name]; !ok && !strings.HasPrefix(name, http.TrailerPrefix) {
			delete(h, name)
		}
	}
	for name, values := range rec.header {
		h[name] = values
	}
}
