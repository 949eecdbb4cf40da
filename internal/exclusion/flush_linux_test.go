package exclusion_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/exclusion"
	"github.com/go-cachify/cachify/internal/redistest"
)

// TestFlush lets the server forget everything, its scripts, and who has subscribed, in the middle of all.
func TestFlush(t *testing.T) {
	server := redistest.Start(t)
	timeouts := []time.Duration{cachify.DefaultOpTimeout, 2 * ttl}
	f := startFleet(t, 2,
		task{Mode: "lock", Addr: server.Addr(), Keys: flushKeys, Goroutines: 6, Timeouts: timeouts},
		task{Mode: "semaphore", Addr: server.Addr(), Keys: 2, Goroutines: 6, Timeouts: timeouts})
	m := newMeddler(t, server)
	t.Log(f.trouble(func() bool { return len(m.flushed) >= flushes }, 300*time.Millisecond, m.acts()...))
	time.Sleep(rand.N(ttl)) // all goes on after the last
	f.end()
	locks, semaphores := f.history("lock", m.all()...), f.history("semaphore", m.flushed...)
	locks.check(t, 1)
	locks.checkTold(t, "FLUSHALL", m.flushed)
	locks.checkTold(t, "a forced release", m.released)
	locks.checkWaits(t, 1, patience)
	locks.checkFences(t, true)
	semaphores.check(t, size)
	semaphores.checkTold(t, "FLUSHALL", m.flushed)
	semaphores.checkWaits(t, size, patience)
	leftOver(t, server)
}

const flushKeys = 3

// A meddler takes from holders what they hold, and from clients what tells them so.
type meddler struct {
	t                 *testing.T
	rdb               *redis.Client
	lock              *cachify.Lock[int]
	flushed, released []exclusion.Span // everything, and locks
}

// all gives all that was taken from the holders of locks, in the order of time.
func (m *meddler) all() []exclusion.Span {
	return slices.SortedFunc(slices.Values(slices.Concat(m.flushed, m.released)), func(a, b exclusion.Span) int { return cmp.Compare(a.From, b.From) })
}

func newMeddler(t *testing.T, server *redistest.Server) *meddler {
	m := &meddler{t: t, rdb: server.Client(t)}
	c := cachify.New(cachify.Redis(m.rdb), &cachify.Options{Prefix: prefix})
	t.Cleanup(func() { noError(t, c.Close()) })
	m.lock = newLock(c, cachify.LockOptions{})
	return m
}

func (m *meddler) acts() []act {
	return []act{
		{"FLUSHALL", 2, m.flush},
		{"forced releases", 2, m.forceRelease},
		{"SCRIPT FLUSH", 1, func() { noError(m.t, m.rdb.ScriptFlush(m.t.Context()).Err()) }},
		{"CLIENT KILL TYPE pubsub", 1, m.cutSubscriptions},
	}
}

func (m *meddler) flush() {
	m.flushed = append(m.flushed, m.during(exclusion.Everything, func() error { return m.rdb.FlushAll(m.t.Context()).Err() }))
	if rand.N(2) == 0 {
		m.cutSubscriptions() // waiters try again when they have subscribed, and so find out what holders do not know yet
	}
}

func (m *meddler) forceRelease() {
	key := rand.N(flushKeys)
	m.released = append(m.released, m.during(key, func() error { return m.lock.Release(m.t.Context(), key) }))
}

func (m *meddler) during(key int, do func() error) exclusion.Span {
	m.t.Helper()
	before := exclusion.Now()
	noError(m.t, do())
	return exclusion.Span{Key: key, From: before, To: exclusion.Now()}
}

func (m *meddler) cutSubscriptions() {
	noError(m.t, m.rdb.ClientKillByFilter(m.t.Context(), "TYPE", "pubsub").Err())
}

// checkTold looks whether everybody who lost a lock at flushes was told: by the end of its context, or by Release.
func (h *history) checkTold(t *testing.T, what string, flushes []exclusion.Span) {
	t.Helper()
	const told = exclusion.Lost | exclusion.ReleaseLost | exclusion.ReleaseFail
	lost, latest := 0, time.Duration(0)
	for _, a := range h.attempts {
		flush, ok := flushOf(a, flushes)
		if !ok {
			continue
		}
		lost++
		went := time.Duration(a.Alive - flush.To)
		if a.Note&exclusion.Renewed != 0 {
			latest = max(latest, went)
		}
		if a.Note&told == 0 || went > 2*ttl { // who does not renew believes it for as long as it was extended, if at all
			t.Errorf("%s lost its lock at %s and went on for %v; its notes are %b", a.Holder, what, went, a.Note)
		}
	}
	t.Logf("%s: %d holdings lost at %s; those who renew went on for at most %v", h.mode, lost, what, latest.Round(time.Millisecond))
}

// flushOf gives the flush at which an attempt lost what it had.
func flushOf(a exclusion.Attempt, flushes []exclusion.Span) (exclusion.Span, bool) {
	for _, flush := range flushes {
		if slices.ContainsFunc(a.Keys, flush.Hits) && a.Got != 0 && a.Got < flush.From && a.Leaving > flush.To {
			return flush, true
		}
	}
	return exclusion.Span{}, false
}
