package exclusion_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/exclusion"
)

func (h *holder) lockTurn(ctx context.Context) {
	lock := h.locks[rand.N(len(h.locks))]
	keys := rand.Perm(h.Keys)[:1]
	if rand.N(10) == 0 {
		keys = rand.Perm(h.Keys)[:2+rand.N(2)]
	}
	try := rand.N(5) == 0
	h.turn(ctx, turn{keys, !try && len(keys) == 1, lock.renewed, lock.fenced, func(ctx context.Context) (*cachify.Lease, error) {
		switch {
		case len(keys) > 1:
			return lock.AcquireMany(ctx, keys)
		case try:
			return lock.TryAcquire(ctx, keys[0])
		}
		return lock.Acquire(ctx, keys[0])
	}})
}

func (h *holder) semaphoreTurn(ctx context.Context) {
	semaphore := h.semaphores[rand.N(len(h.semaphores))]
	key, try := rand.N(h.Keys), rand.N(5) == 0
	h.turn(ctx, turn{[]int{key}, !try, semaphore.renewed, false, func(ctx context.Context) (*cachify.Lease, error) {
		if try {
			return semaphore.TryAcquire(ctx, key)
		}
		return semaphore.Acquire(ctx, key)
	}})
}

// A turn is one attempt at taking a lease, and what is known about it.
type turn struct {
	keys                   []int
	waits, renewed, fenced bool
	acquire                func(context.Context) (*cachify.Lease, error)
}

func (t turn) notes() (notes int64) {
	if t.waits {
		notes |= exclusion.Waited
	}
	if t.renewed {
		notes |= exclusion.Renewed
	}
	return notes
}

// turn takes a lease, works under it, and gives it back. Some attempts, and the work of some, are cancelled.
func (h *holder) turn(ctx context.Context, t turn) {
	if rand.N(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rand.N(ttl))
		defer cancel()
	}
	e := h.log.Begin(t.keys...)
	defer h.log.Ended(e)
	e.Note(t.notes())
	began := exclusion.Now()
	lease, err := t.acquire(ctx)
	if err != nil {
		time.Sleep(rand.N(5 * time.Millisecond)) // others should come to something
		return
	}
	now := exclusion.Now()
	if lease.Valid() {
		h.log.Got(e, now)
		h.useLease(ctx, lease, e, t.fenced, began, now)
		h.work(ctx, lease, e)
	}
	h.release(ctx, lease, e)
}

// useLease calls something on a new lease now and then.
func (h *holder) useLease(ctx context.Context, lease *cachify.Lease, e *exclusion.Entry, fenced bool, began, got int64) {
	if rand.N(10) == 0 {
		_ = lease.Extend(ctx, time.Millisecond+rand.N(2*ttl)) // of a lease that is lost it is an error
	}
	if h.Mode != "lock" || rand.N(2) == 0 {
		return
	}
	asked := exclusion.Now()
	fence, err := lease.Fence(ctx)
	switch {
	case err != nil:
	case fenced: // it came with the lock
		e.Fence(fence, began, got)
	default:
		e.Fence(fence, asked, exclusion.Now())
	}
}

// work goes on until it is done or the holder sees that it has lost the lock.
func (h *holder) work(ctx context.Context, lease *cachify.Lease, e *exclusion.Entry) {
	if h.look(e, func() (valid, alive bool) {
		valid = lease.Valid()
		return valid, valid || lease.Context().Err() == nil
	}) {
		return
	}
	e.Note(exclusion.Lost)
	if ctx.Err() == nil && !errors.Is(context.Cause(lease.Context()), cachify.ErrLockLost) {
		e.Note(exclusion.BadCause)
	}
}

func (h *holder) release(ctx context.Context, lease *cachify.Lease, e *exclusion.Entry) {
	e.Leaving()
	switch err := lease.Release(ctx); {
	case errors.Is(err, cachify.ErrLockLost):
		e.Note(exclusion.ReleaseLost)
	case err != nil:
		e.Note(exclusion.ReleaseFail)
	}
}

// look writes down that the holder is alive for as long as it is, or until its work is done, which is what it returns. It looks
// more often near the time at which a lease ends that is not renewed.
func (h *holder) look(e *exclusion.Entry, lives func() (valid, alive bool)) (done bool) {
	work, began := workTime(), time.Now()
	for p := h.pulse(); ; {
		now := p.beat()
		valid, alive := lives()
		if !alive {
			return false
		}
		e.Alive(now, valid)
		switch held := time.Since(began); {
		case held >= work:
			return true
		case held > ttl*85/100 && held < ttl:
			time.Sleep(50 * time.Microsecond)
		default:
			time.Sleep(min(time.Millisecond, work-held))
		}
	}
}

// workTime is mostly short, and now and then up to three times the TTL.
func workTime() time.Duration {
	switch n := rand.N(100); {
	case n < 80:
		return rand.N(8 * time.Millisecond)
	case n < 94:
		return rand.N(ttl / 5)
	}
	return ttl/2 + rand.N(ttl*5/2)
}

// unlockedTurn is the control without a lock.
func (h *holder) unlockedTurn(context.Context) {
	e := h.log.Begin(rand.N(h.Keys))
	h.log.Got(e, exclusion.Now())
	h.look(e, blind)
	h.log.Ended(e)
	time.Sleep(rand.N(50 * time.Millisecond))
}

// blindTurn is the control with a lock that is not renewed, and a holder who does not look whether it is alive.
func (h *holder) blindTurn(ctx context.Context) {
	key := rand.N(h.Keys)
	e := h.log.Begin(key)
	defer h.log.Ended(e)
	lease, err := h.mortal.Acquire(ctx, key)
	if err != nil {
		return
	}
	h.log.Got(e, exclusion.Now())
	h.look(e, blind)
	h.release(ctx, lease, e)
}

// blind takes itself to be alive always.
func blind() (valid, alive bool) { return true, true }

// pausedTurn is work that looks at one thing only: before each step at Valid for an even key, at the context for an odd one. It
// is alive until the end of a step.
func (h *holder) pausedTurn(ctx context.Context) {
	key := rand.N(h.Keys)
	e := h.log.Begin(key)
	defer h.log.Ended(e)
	lease, err := h.locks[0].Acquire(ctx, key)
	if err != nil {
		return
	}
	defer h.release(ctx, lease, e)
	now := exclusion.Now()
	if !lease.Valid() {
		return
	}
	h.log.Got(e, now)
	for range 100 + rand.N(300) {
		now := exclusion.Now()
		valid := lease.Valid()
		if key%2 == 0 && !valid || key%2 == 1 && lease.Context().Err() != nil {
			return
		}
		e.Alive(now, valid)
		step()
		e.Alive(exclusion.Now(), false)
	}
}

// step waits for something or computes, in which case a process that goes on after a pause goes on with it before any timer runs.
func step() {
	const long = 100 * time.Microsecond
	if rand.N(2) == 0 {
		time.Sleep(long)
		return
	}
	for began := time.Now(); time.Since(began) < long; {
	}
}
