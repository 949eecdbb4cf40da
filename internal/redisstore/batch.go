package redisstore

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxBatch is how many reads travel together. It bounds how long the first of them waits for the last one's reply.
	maxBatch = 128

	// maxSenders is how many batches of a lane may be under way, each on a connection of its own, so that a slow one does not hold
	// up those behind it. More would make them smaller.
	maxSenders = 4
)

// A batch is reads that travel together: keys and tags, each once. Its lane's mutex guards it until it is sent.
type batch struct {
	keys, tags []string
	timed      []string  // of keys, those whose time to live is wanted; one may be there more than once
	deadline   time.Time // the latest of its callers'; zero: one of them has none
	callers    int
	waiting    int  // of callers, those who have not left
	shared     bool // there are more callers than keys

	done chan struct{} // closed when what follows is there
	err  error         // nobody knows the answers
	cmds []redis.Cmder

	failed atomic.Bool // a caller has been given err
}

// A place is where a caller finds its answers in its batch.
type place struct {
	batch *batch
	key   int
	tags  []int
	timed int // -1: the time to live is not wanted
}

// A lane gathers the reads that go the same way into batches: those that are asked for while batches are under way go in the next.
// A batch is sent by one of a few goroutines that end when there is nothing to send, so that a caller can leave whatever
// the server does.
type lane struct {
	send func(ctx context.Context, cmds ...redis.Cmder) error
	mget bool // one MGET can read it all
	sent func(callers int)

	mu      sync.Mutex
	queue   []*batch       // not yet sent; more join the last one
	index   map[string]int // where the last one has its keys and tags
	senders int
	coming  bool          // one of senders is about to look at queue
	idle    chan struct{} // closed when there are no senders
}

// join puts a read into a batch that is yet to be sent. buf is for place.tags.
func (l *lane) join(ctx context.Context, key string, tags []string, timed bool, buf []int) place {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.open()
	p := place{batch: b, tags: buf, timed: -1}
	before := len(b.keys)
	p.key, b.keys = l.add(key, b.keys)
	b.shared = b.shared || len(b.keys) == before
	for _, tag := range tags {
		var at int
		at, b.tags = l.add(tag, b.tags)
		p.tags = append(p.tags, at)
	}
	if timed {
		p.timed, b.timed = len(b.timed), append(b.timed, key)
	}
	if deadline, ok := ctx.Deadline(); !ok {
		b.deadline = time.Time{}
	} else if b.callers == 0 || !b.deadline.IsZero() && deadline.After(b.deadline) {
		b.deadline = deadline
	}
	b.callers++
	b.waiting++
	if !l.coming && l.senders < maxSenders {
		l.startSender()
	}
	return p
}

// open gives the batch that may be joined.
func (l *lane) open() *batch {
	if n := len(l.queue); n > 0 && l.queue[n-1].callers < maxBatch {
		return l.queue[n-1]
	}
	b := &batch{done: make(chan struct{})}
	l.queue = append(l.queue, b)
	clear(l.index)
	return b
}

// add gives the place of name in names, to which it adds it unless it is there.
func (l *lane) add(name string, names []string) (int, []string) {
	i, ok := l.index[name]
	if ok {
		return i, names
	}
	l.index[name] = len(names)
	return len(names), append(names, name)
}

// leave is what a caller does who no longer waits. A batch that nobody waits for is not sent.
func (l *lane) leave(b *batch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b.waiting--; b.waiting > 0 {
		return
	}
	if i := slices.Index(l.queue, b); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
	}
}

func (l *lane) startSender() {
	if l.senders++; l.senders == 1 {
		l.idle = make(chan struct{})
	}
	l.coming = true
	go l.sendAll()
}

// sendAll sends batches until there are none.
func (l *lane) sendAll() {
	for {
		runtime.Gosched() // those who are about to ask join first
		b := l.next()
		if b == nil {
			return
		}
		l.exec(b)
	}
}

// next takes the next batch to send. nil ends a sender.
func (l *lane) next() *batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.coming = false
	if len(l.queue) == 0 {
		if l.senders--; l.senders == 0 {
			close(l.idle)
			l.idle = nil
		}
		return nil
	}
	b := l.queue[0]
	l.queue = slices.Delete(l.queue, 0, 1)
	l.sent(b.callers)
	if len(l.queue) > 0 && l.senders < maxSenders {
		l.startSender()
	}
	return b
}

// ended gives a channel that is closed when there are no senders any more, nil if there are none.
func (l *lane) ended() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.idle
}

// exec sends b and wakes its callers.
func (l *lane) exec(b *batch) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if !b.deadline.IsZero() {
		ctx, cancel = context.WithDeadline(ctx, b.deadline)
	}
	defer cancel()
	cmds := b.commands(ctx, l.mget)
	if b.err = l.send(ctx, cmds...); b.err == nil {
		b.cmds = cmds
	}
	close(b.done)
}

// commands gives what reads b: one MGET, or one GET for each key and an MGET for the tags. How long keys have left comes after
// the keys, as in appendLeft.
func (b *batch) commands(ctx context.Context, mgetAll bool) []redis.Cmder {
	if mgetAll {
		return appendLeft(ctx, []redis.Cmder{redis.NewSliceCmd(ctx, mget(b.keys, b.tags)...)}, b.timed)
	}
	cmds := make([]redis.Cmder, 0, len(b.keys)+1+len(b.timed))
	for _, key := range b.keys {
		cmds = append(cmds, redis.NewStringCmd(ctx, "get", key))
	}
	return appendLeft(ctx, append(cmds, redis.NewSliceCmd(ctx, mget(b.tags)...)), b.timed)
}

// read gives a caller its answers, in memory of its own. ok is false where there is no value, or no good answer to one of its commands.
func (p place) read(mgetAll bool, left []time.Duration) (value []byte, stamps []int64, ok bool) {
	b, cmds := p.batch, p.batch.cmds
	if !mgetAll {
		value, _ = bytesOf(cmds[p.key].(*redis.StringCmd))
		cmds = cmds[len(b.keys):]
	}
	replies := cmds[0].(*redis.SliceCmd).Val()
	if mgetAll && len(replies) > len(b.keys) {
		if text, ok := replies[p.key].(string); ok {
			value = bytesIn(text)
		}
		replies = replies[len(b.keys):]
	}
	if b.shared {
		value = bytes.Clone(value)
	}
	if value == nil || len(replies) != len(b.tags) {
		return nil, nil, false
	}
	stamps = make([]int64, len(p.tags))
	for i, at := range p.tags {
		text, _ := replies[at].(string)
		stamps[i] = parseStamp(text)
	}
	if p.timed >= 0 && readLeft(cmds[1+p.timed:], left) != nil {
		return nil, nil, false
	}
	return value, stamps, true
}
