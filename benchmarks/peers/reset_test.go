//go:build unix

package peers

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// A row is the database behind the caches: one value, whose number grows with each change. A load can be held between its reading and
// its return.
type row struct {
	number atomic.Int64
	holds  chan *hold // of the next load; at most one
}

type hold struct {
	entered chan struct{} // closed when the load has read
	open    chan struct{} // it returns when this is closed
}

func newRow() *row {
	r := &row{holds: make(chan *hold, 1)}
	r.number.Store(1)
	return r
}

func (r *row) load(context.Context, args) (small, error) {
	v := newSmall(r.number.Load())
	select {
	case h := <-r.holds:
		close(h.entered)
		<-h.open
	default:
	}
	return v, nil
}

func (r *row) hold() *hold {
	h := &hold{make(chan struct{}), make(chan struct{})}
	r.holds <- h
	return h
}

// withdraw takes back a hold that no load has met.
func (r *row) withdraw() {
	select {
	case <-r.holds:
	default:
	}
}

// A scene is one library in one situation: two instances of it with clients of their own, which know of each other through Redis
// alone, as two processes do.
type scene struct {
	t        *testing.T
	row      *row
	b        *bench
	one, two *cache[small]
	key      args
	later    time.Duration
}

// situations return the numbers that calls which began after the Reset were given. The row's number is 2 by then.
var situations = []struct {
	name   string
	near   bool // at a near level
	shared bool // two processes have a part in it
	play   func(*scene) []int64
}{
	{"fill in flight, same process", false, false, func(s *scene) []int64 { return s.fillInFlight(s.one) }},
	{"fill in flight, another process", false, true, func(s *scene) []int64 { return append(s.fillInFlight(s.two), s.get(s.two)) }},
	{"reader that starts after Reset", false, false, (*scene).readerAfter},
	{"two overlapping fills", false, false, (*scene).overlapping},
	{"warm near cache, same process at once", true, true, func(s *scene) []int64 { return s.warmNear(s.one) }},
	{"warm near cache, another process 0.1 s later", true, true, func(s *scene) []int64 {
		s.later = s.b.settled
		return s.warmNear(s.two)
	}},
}

func (b *bench) oldValues(t *testing.T) {
	key := int64(0)
	play := func(p peer[small], name string, lv level) {
		for _, situation := range situations {
			if situation.near && lv == inRedis || situation.shared && p.memory {
				continue
			}
			for range b.resets {
				key++
				t.Run(situation.name+", "+name, func(t *testing.T) {
					r := newRow()
					one, two := p.open(t, b.server.Addr(), lv, r.load), p.open(t, b.server.Addr(), lv, r.load)
					if one == nil {
						t.Fatal("it has no such level")
					}
					s := &scene{t: t, row: r, b: b, one: one, two: two, key: user(key)}
					stale := 0.0
					for _, number := range situation.play(s) {
						if number != 2 {
							stale = 1
						}
					}
					if stale > 0 && p.name == cachifyName {
						t.Error("an old value after Reset") // not a figure, but a bug
					}
					b.run.Add("old value", situation.name, "stale", name, stale)
				})
			}
		}
	}
	for _, p := range peers[small]() {
		if p.hits {
			continue
		}
		play(p, p.name, p.usual)
		if near, ok := nearLevel(t, p, b.server.Addr()); ok && p.usual == inRedis {
			play(p, p.name+", near cache", near)
		}
	}
}

// nearLevel is the level at which a library has a near cache, the shared one if there are two.
func nearLevel(t *testing.T, p peer[small], addr string) (level, bool) {
	for _, lv := range []level{nearShared, nearDecoded} {
		if p.open(t, addr, lv, func(context.Context, args) (small, error) { return small{}, errMiss }) != nil {
			return lv, true
		}
	}
	return 0, false
}

func (s *scene) get(c *cache[small]) int64 {
	v, err := c.get(s.t.Context(), s.key)
	if err != nil {
		s.t.Error(err)
	}
	return v.ID
}

// ask is get in the background.
func (s *scene) ask(c *cache[small]) <-chan int64 {
	number := make(chan int64, 1)
	go func() { number <- s.get(c) }()
	return number
}

func (s *scene) await(h *hold) {
	s.t.Helper()
	select {
	case <-h.entered:
	case <-time.After(10 * time.Second):
		s.t.Fatal("the function did not run")
	}
}

// change writes the new number and resets, as a user's code does.
func (s *scene) change(c *cache[small]) {
	s.row.number.Store(2)
	noError(s.t, c.reset(s.t.Context(), s.key))
}

// settle waits until what was done in the background is done.
func (s *scene) settle() {
	for _, c := range []*cache[small]{s.one, s.two} {
		if c.settle != nil {
			c.settle()
		}
	}
}

// fillInFlight has a load of the first instance hold the old number while resetter resets.
func (s *scene) fillInFlight(resetter *cache[small]) []int64 {
	h := s.row.hold()
	old := s.ask(s.one)
	s.await(h)
	s.change(resetter)
	close(h.open)
	<-old
	s.settle()
	return []int64{s.get(s.one)}
}

// readerAfter asks for the key while that load still holds the old number. A reader who has no answer by the time that the load goes
// on has joined it.
func (s *scene) readerAfter() []int64 {
	h := s.row.hold()
	old := s.ask(s.one)
	s.await(h)
	s.change(s.one)
	reader := s.ask(s.one)
	number, answered := within(reader, s.b.joined)
	close(h.open)
	if !answered {
		number = <-reader
	}
	<-old
	return []int64{number}
}

// overlapping has a second load begin after the Reset and end after the first.
func (s *scene) overlapping() []int64 {
	first := s.row.hold()
	old := s.ask(s.one)
	s.await(first)
	s.change(s.one)
	second := s.row.hold()
	fresh := s.ask(s.one)
	select {
	case <-second.entered:
	case <-time.After(s.b.joined): // it has joined the first
		s.row.withdraw()
	}
	close(first.open)
	_, ended := within(old, s.b.joined) // or the first caller waits for the second load
	if ended {
		s.settle()
	}
	reader := s.ask(s.one)
	number, answered := within(reader, s.b.joined)
	close(second.open)
	if !answered {
		number = <-reader
	}
	numbers := []int64{number, <-fresh}
	if !ended {
		<-old
	}
	s.settle()
	return append(numbers, s.get(s.one))
}

// warmNear resets in the first instance what both have in their memory, and has reader ask for it later.
func (s *scene) warmNear(reader *cache[small]) []int64 {
	for _, c := range []*cache[small]{s.one, s.two} {
		eventually(s.t, "the near cache does not get warm", func() bool {
			s.get(c)
			s.settle()
			before := s.b.commands()
			s.get(c)
			return s.b.commands() == before
		})
	}
	s.change(s.one)
	time.Sleep(s.later)
	return []int64{s.get(reader)}
}

func within(number <-chan int64, d time.Duration) (int64, bool) {
	select {
	case n := <-number:
		return n, true
	case <-time.After(d):
		return 0, false
	}
}
