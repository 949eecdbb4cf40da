package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A pausedServer answers each MGET of a lane when it is told to: a key has its own name for a value, a tag has 1.
type pausedServer struct {
	asked   chan []string // names of each MGET
	answers chan error
}

func newPausedLane(t *testing.T) (*lane, *pausedServer) {
	p := &pausedServer{asked: make(chan []string), answers: make(chan error)}
	l := &lane{mget: true, index: make(map[string]int), sent: func(int) {}}
	l.send = func(_ context.Context, cmds ...redis.Cmder) error {
		var names []string
		var values []any
		for _, name := range cmds[0].Args()[1:] {
			names = append(names, name.(string))
			value := name
			if strings.HasPrefix(name.(string), "{") {
				value = "1"
			}
			values = append(values, value)
		}
		p.asked <- names
		cmds[0].(*redis.SliceCmd).SetVal(values)
		return <-p.answers
	}
	t.Cleanup(func() {
		if ended := l.ended(); ended != nil {
			awaited(t, ended, "the senders end")
		}
	})
	return l, p
}

func (p *pausedServer) next(t *testing.T, want ...string) {
	t.Helper()
	select {
	case names := <-p.asked:
		if !slices.Equal(names, want) {
			t.Errorf("a batch of %v, want %v", names, want)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no batch is sent")
	}
}

func (l *lane) ask(t *testing.T, key string) place {
	return l.join(t.Context(), key, []string{"{t}", "{t}a"}, false, nil)
}

func (p place) expect(t *testing.T, want string) {
	t.Helper()
	awaited(t, p.batch.done, "the answers are there")
	value, stamps, ok := p.read(true, nil)
	if !ok || string(value) != want || !slices.Equal(stamps, []int64{1, 1}) {
		t.Errorf("got %q, %v, %t, want %q", value, stamps, ok, want)
	}
}

func awaited(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatalf("not in time: %s", what)
	}
}

// TestReadJoinsOnlyWhatIsNotYetSent: else it could be given what was there before a Reset that it comes after.
func TestReadJoinsOnlyWhatIsNotYetSent(t *testing.T) {
	l, p := newPausedLane(t)
	first := l.ask(t, "a")
	p.next(t, "a", "{t}", "{t}a")
	second := l.ask(t, "a")
	if second.batch == first.batch {
		t.Error("a read has joined a batch that was sent before it began")
	}
	p.next(t, "a", "{t}", "{t}a") // by another sender, while the first batch is under way
	p.answers <- nil
	p.answers <- nil
	first.expect(t, "a")
	second.expect(t, "a")
}

// TestReadsGatherWhileAllSendersAreBusy: each name is sent once, and a batch has an end.
func TestReadsGatherWhileAllSendersAreBusy(t *testing.T) {
	l, p := newPausedLane(t)
	var busy []place
	for i := range maxSenders {
		busy = append(busy, l.ask(t, fmt.Sprint(i)))
		p.next(t, fmt.Sprint(i), "{t}", "{t}a")
	}
	first, second, third := l.ask(t, "a"), l.ask(t, "b"), l.ask(t, "a")
	for range maxBatch - 3 {
		l.ask(t, "b")
	}
	next := l.ask(t, "a")
	if first.batch != third.batch || first.batch == next.batch || l.senders != maxSenders {
		t.Errorf("one batch: %t, of more than %d: %t, %d senders", first.batch == third.batch, maxBatch, first.batch == next.batch, l.senders)
	}
	for range maxSenders {
		p.answers <- nil
	}
	for i, at := range busy {
		at.expect(t, fmt.Sprint(i))
	}
	for range 2 {
		select {
		case names := <-p.asked:
			if want := []string{"a", "b", "{t}", "{t}a"}; !slices.Equal(names, want) && !slices.Equal(names, []string{"a", "{t}", "{t}a"}) {
				t.Errorf("a batch of %v, want %v", names, want)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("no batch is sent")
		}
	}
	p.answers <- nil
	p.answers <- nil
	first.expect(t, "a")
	second.expect(t, "b")
	third.expect(t, "a")
	next.expect(t, "a")

	// Two callers with one key do not share memory.
	one, _, _ := first.read(true, nil)
	one[0] = 'x'
	third.expect(t, "a")
}

// TestWhoLeaves: the others get their answers, and a batch that all have left is not sent.
func TestWhoLeaves(t *testing.T) {
	l, p := newPausedLane(t)
	for range maxSenders {
		l.ask(t, "busy")
		p.next(t, "busy", "{t}", "{t}a")
	}
	left, stays := l.ask(t, "a"), l.ask(t, "b")
	for range maxBatch - 2 {
		l.ask(t, "b")
	}
	forsaken := l.ask(t, "c")
	l.leave(left.batch)
	l.leave(forsaken.batch)
	if len(l.queue) != 1 {
		t.Errorf("%d batches wait, want 1", len(l.queue))
	}
	for range maxSenders {
		p.answers <- nil
	}
	p.next(t, "a", "b", "{t}", "{t}a")
	p.answers <- nil
	stays.expect(t, "b")
}

// TestDeadlineOfABatch is the latest of its callers', of whom those with an earlier one leave by themselves.
func TestDeadlineOfABatch(t *testing.T) {
	l, p := newPausedLane(t)
	for range maxSenders {
		l.ask(t, "busy")
		p.next(t, "busy", "{t}", "{t}a")
	}
	now := time.Now()
	var last place
	join := func(d time.Duration) {
		ctx, cancel := context.WithDeadline(t.Context(), now.Add(d))
		defer cancel()
		last = l.join(ctx, "a", nil, false, nil)
	}
	join(time.Minute)
	join(time.Hour)
	join(time.Second)
	if got := last.batch.deadline; !got.Equal(now.Add(time.Hour)) {
		t.Errorf("deadline in %v, want an hour", got.Sub(now))
	}
	l.ask(t, "a")
	join(time.Second)
	if got := last.batch.deadline; !got.IsZero() {
		t.Errorf("deadline in %v, want none, as one caller has none", got.Sub(now))
	}
	for range maxSenders {
		p.answers <- nil
	}
	p.next(t, "a", "{t}", "{t}a")
	boom := errors.New("boom")
	p.answers <- boom
	awaited(t, last.batch.done, "the batch ends")
	if last.batch.err != boom {
		t.Errorf("error %v, want %v", last.batch.err, boom)
	}
}
