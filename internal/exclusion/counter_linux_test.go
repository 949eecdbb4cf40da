package exclusion_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/exclusion"
	"github.com/go-cachify/cachify/internal/redistest"
)

// A guard says what a counter checks: the fencing tokens of those who read and of those who write, or only the latter, or none.
type guard string

const (
	readsAndWrites guard = "reads and writes"
	writesAlone    guard = "writes alone"
	nothing        guard = "nothing"
)

// A counter is a file that holds a number and the greatest fencing token that its guard has seen. The guard turns away whoever
// comes with a smaller one. Each operation has the file to itself, which is what flock(2) is for here, and for nothing else.
type counter struct {
	*os.File
	guard guard
}

func openCounter(path string, guard guard) (*counter, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	return &counter{file, guard}, err
}

// read returns false if it was turned away.
func (c *counter) read(fence int64) (value int, ok bool, err error) {
	err = c.alone(func(v *int, seen *int64) {
		value, ok = *v, true
		if c.guard == readsAndWrites {
			ok = admit(fence, seen)
		}
	})
	return value, ok, err
}

// write returns false if it was turned away.
func (c *counter) write(value int, fence int64) (ok bool, err error) {
	err = c.alone(func(v *int, seen *int64) {
		if ok = c.guard == nothing || admit(fence, seen); ok {
			*v = value
		}
	})
	return ok, err
}

func admit(fence int64, seen *int64) bool {
	if fence < *seen {
		return false
	}
	*seen = fence
	return true
}

// alone calls f with the contents of the file, and writes down what it makes of them.
func (c *counter) alone(f func(value *int, seen *int64)) error {
	if err := syscall.Flock(int(c.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	defer syscall.Flock(int(c.Fd()), syscall.LOCK_UN)
	var value int
	var seen int64
	text := make([]byte, 64)
	if n, _ := c.ReadAt(text, 0); n > 0 { // the rest is io.EOF
		if _, err := fmt.Sscan(string(text[:n]), &value, &seen); err != nil {
			return err
		}
	}
	f(&value, &seen)
	_, err := c.WriteAt(fmt.Appendf(nil, "%20d %20d\n", value, seen), 0)
	return err
}

// counterTurn increments the counter without looking whether it still holds the lock: that is up to the guard.
func (h *holder) counterTurn(ctx context.Context) {
	e := h.log.Begin(0)
	defer h.log.Ended(e)
	lease, err := h.fenced.Acquire(ctx, 0)
	if err != nil {
		return
	}
	defer h.release(ctx, lease, e)
	h.log.Got(e, exclusion.Now())
	wrote, err := h.increment(ctx, lease)
	switch {
	case err != nil:
		panic(err)
	case wrote:
		e.Note(exclusion.Wrote)
	default:
		e.Note(exclusion.TurnedAway)
	}
}

const incrementTime = 8 * time.Millisecond // at most

func (h *holder) increment(ctx context.Context, lease *cachify.Lease) (wrote bool, err error) {
	fence, err := lease.Fence(ctx)
	if err != nil { // it is lost already
		return false, nil
	}
	value, ok, err := h.counter.read(fence)
	if !ok {
		return false, err
	}
	time.Sleep(rand.N(incrementTime)) // where holders are paused, mostly
	return h.counter.write(value+1, fence)
}

// TestCounter has eight processes increment a counter under the lock, with holders that are paused for longer than the TTL in the
// middle of it.
func TestCounter(t *testing.T) {
	for _, guard := range []guard{readsAndWrites, writesAlone, nothing} {
		t.Run("guard of "+string(guard), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			path := filepath.Join(t.TempDir(), "counter")
			f := startFleet(t, 8, task{Mode: "counter", Addr: server.Addr(), Goroutines: 1, Keys: 1, Counter: path, Guard: guard, Timeouts: usual})
			for range pauses {
				time.Sleep(rand.N(100 * time.Millisecond))
				noError(t, f.pause(f.untilAnotherHolds))
			}
			f.end()
			checkCounter(t, f.history("counter"), path, guard)
		})
	}
}

// untilAnotherHolds waits until another process than p holds the lock, and for about as long as an increment takes, or longer.
func (f *fleet) untilAnotherHolds(p *process) error {
	for limit := time.Now().Add(ttl + patience); !f.anotherHolds(p); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(limit) {
			return errors.New("nobody takes over from a holder that is paused")
		}
	}
	if rand.N(4) == 0 {
		time.Sleep(rand.N(ttl))
	} else {
		time.Sleep(rand.N(incrementTime))
	}
	return nil
}

func (f *fleet) anotherHolds(p *process) bool {
	for _, other := range f.running {
		if other != p && other.log.Held() > 0 {
			return true
		}
	}
	return false
}

// checkCounter compares the counter with how many increments were accepted.
func checkCounter(t *testing.T, h *history, path string, guard guard) {
	t.Helper()
	c, err := openCounter(path, nothing)
	noError(t, err)
	defer c.Close()
	value, _, err := c.read(0)
	noError(t, err)
	accepted := h.count(exclusion.Wrote)
	lost := accepted - value
	t.Logf("%s checked, 8 processes, %d pauses of a holder: %d increments accepted, %d turned away, %d of the accepted ones lost",
		guard, pauses, accepted, h.count(exclusion.TurnedAway), lost)
	switch {
	case accepted == 0:
		t.Error("nothing was accepted")
	case guard == readsAndWrites && lost != 0:
		t.Errorf("the counter is %d after %d increments", value, accepted)
	case guard == nothing && lost == 0 && long():
		t.Error("no increment was lost without fencing: the test can't fail")
	}
}
