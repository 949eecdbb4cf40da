package cachify

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const opTimeout = time.Second

// newDeadlineClient gives a client whose operations have a second.
func newDeadlineClient(t *testing.T) *Client {
	c := New(Memory(), &Options{OpTimeout: opTimeout})
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func isDone(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	default:
		return false
	}
}

// wantEnd waits for the end of ctx and checks that it came with this error and cause, so long after start.
func wantEnd(t *testing.T, ctx context.Context, start time.Time, after time.Duration, err, cause error) {
	t.Helper()
	<-ctx.Done()
	if took := time.Since(start); took != after {
		t.Errorf("ended after %v, want %v", took, after)
	}
	if ctx.Err() != err || context.Cause(ctx) != cause {
		t.Errorf("error %v with cause %v, want %v with %v", ctx.Err(), context.Cause(ctx), err, cause)
	}
}

// state says whether nobody waits for a deadline, and when the timer rings.
func (d *deadlines) state() (idle bool, rings time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ring.after == nil || d.ring.after == &d.ring, d.rings
}

type ctxKey struct{}

// callers are ctxs of callers, made anew for each test.
var callers = map[string]func(t *testing.T) (context.Context, context.CancelCauseFunc){
	"that never ends": func(*testing.T) (context.Context, context.CancelCauseFunc) { return context.Background(), nil },
	"that can be cancelled": func(t *testing.T) (context.Context, context.CancelCauseFunc) {
		return context.WithCancelCause(t.Context())
	},
	"with a distant deadline": func(t *testing.T) (context.Context, context.CancelCauseFunc) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		t.Cleanup(cancel)
		return context.WithCancelCause(ctx)
	},
}

func eachCaller(t *testing.T, test func(t *testing.T, c *Client, ctx context.Context, cancel context.CancelCauseFunc)) {
	for name, caller := range callers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := caller(t)
				if cancel != nil {
					defer cancel(nil)
				}
				test(t, newDeadlineClient(t), context.WithValue(ctx, ctxKey{}, "value"), cancel)
			})
		})
	}
}

func TestOpContextEndsAtItsDeadline(t *testing.T) {
	eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, _ context.CancelCauseFunc) {
		start := time.Now()
		op, release := c.opContext(ctx)
		defer release()
		if deadline, ok := op.Deadline(); !ok || !deadline.Equal(start.Add(opTimeout)) {
			t.Errorf("deadline %v, %t", deadline, ok)
		}
		if op.Value(ctxKey{}) != "value" {
			t.Error("the caller's values are not there")
		}
		if isDone(op) || op.Err() != nil || context.Cause(op) != nil {
			t.Errorf("ended at once: %v", op.Err())
		}
		wantEnd(t, op, start, opTimeout, context.DeadlineExceeded, context.DeadlineExceeded)
		release()
		wantEnd(t, op, start, opTimeout, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

// TestOpContextThatNobodyAwaits knows the time without a timer.
func TestOpContextThatNobodyAwaits(t *testing.T) {
	eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, _ context.CancelCauseFunc) {
		op, release := c.opContext(ctx)
		defer release()
		time.Sleep(opTimeout - 1)
		if err := op.Err(); err != nil {
			t.Errorf("before the deadline: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := op.Err(); err != context.DeadlineExceeded {
			t.Errorf("at the deadline: %v", err)
		}
		if !isDone(op) {
			t.Error("has an error but is not done")
		}
		if c.deadlines.timer != nil {
			t.Error("there is a timer that nobody needs")
		}
	})
}

func TestOpContextEndsWhenReleased(t *testing.T) {
	eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, _ context.CancelCauseFunc) {
		start := time.Now()
		awaited, release1 := c.opContext(ctx)
		waiting := awaited.Done()
		fresh, release2 := c.opContext(ctx)
		release1()
		release2()
		release2()
		<-waiting
		for _, op := range []context.Context{awaited, fresh} {
			wantEnd(t, op, start, 0, context.Canceled, context.Canceled)
		}
		time.Sleep(2 * opTimeout)
		for _, op := range []context.Context{awaited, fresh} {
			wantEnd(t, op, start, 2*opTimeout, context.Canceled, context.Canceled)
		}
		synctest.Wait()
		if idle, rings := c.deadlines.state(); !idle || !rings.IsZero() {
			t.Error("the client still has deadlines")
		}
	})
}

// TestOpContextEndsWithTheCallers looks at one that was asked for its end before, and one that was not.
func TestOpContextEndsWithTheCallers(t *testing.T) {
	why := errors.New("why")
	eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, cancel context.CancelCauseFunc) {
		if cancel == nil {
			return
		}
		start := time.Now()
		awaited, release1 := c.opContext(ctx)
		defer release1()
		waiting := awaited.Done()
		fresh, release2 := c.opContext(ctx)
		defer release2()
		time.Sleep(opTimeout / 2)
		cancel(why)
		if awaited.Err() != context.Canceled || fresh.Err() != context.Canceled || !isDone(fresh) {
			t.Errorf("errors %v and %v, done %t", awaited.Err(), fresh.Err(), isDone(fresh))
		}
		<-waiting
		for _, op := range []context.Context{awaited, fresh} {
			wantEnd(t, op, start, opTimeout/2, context.Canceled, why)
		}
		late, release3 := c.opContext(ctx)
		defer release3()
		if !isDone(late) {
			t.Error("an operation of a caller who is gone begins")
		}
	})
}

// TestOpContextGlance has one who looks at Done and does not wait, and one who looks and then waits.
func TestOpContextGlance(t *testing.T) {
	eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, cancel context.CancelCauseFunc) {
		start := time.Now()
		glance := func() (context.Context, <-chan struct{}) {
			op, release := c.opContext(ctx)
			t.Cleanup(release)
			op.(*opCtx).Glance()
			return op, op.Done()
		}
		looked, look := glance()
		if looked.(*opCtx).leave != nil {
			t.Error("a look has joined the caller's ctx")
		}
		awaited, wait := glance()
		if awaited.Done() != wait {
			t.Error("Done gives another channel")
		}
		if cancel == nil {
			<-wait
			<-look
			wantEnd(t, looked, start, opTimeout, context.DeadlineExceeded, context.DeadlineExceeded)
			return
		}
		cancel(nil)
		<-wait
		wantEnd(t, awaited, start, 0, context.Canceled, context.Canceled)
		<-look // nobody should, but it ends
		wantEnd(t, looked, start, opTimeout, context.Canceled, context.Canceled)
	})
}

// TestOpContextOfAnEndedCaller: go-redis, which only looks, has to see that too.
func TestOpContextOfAnEndedCaller(t *testing.T) {
	c := newDeadlineClient(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	op, release := c.opContext(ctx)
	defer release()
	op.(*opCtx).Glance()
	if !isDone(op) || op.Err() != context.Canceled {
		t.Errorf("goes on, with error %v", op.Err())
	}
}

// TestOpContextDeadlines has operations of different timeouts, asked for their ends in another order than they end.
func TestOpContextDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newDeadlineClient(t)
		var group sync.WaitGroup
		for range 200 {
			group.Go(func() {
				start := time.Now()
				ctx, timeout := t.Context(), opTimeout
				if rand.N(2) == 0 {
					timeout = opTimeout/10 + rand.N(opTimeout/2)
					short, cancel := context.WithTimeout(ctx, 2*timeout)
					defer cancel()
					ctx = short
				}
				op, release := c.opContext(ctx)
				defer release()
				time.Sleep(rand.N(timeout))
				if rand.N(3) == 0 {
					op.Done()
					return
				}
				wantEnd(t, op, start, timeout, context.DeadlineExceeded, context.DeadlineExceeded)
			})
			time.Sleep(rand.N(opTimeout / 20))
		}
		group.Wait()
		if idle, _ := c.deadlines.state(); !idle {
			t.Error("operations are left")
		}
	})
}

// TestOpContextTimer: operations that follow each other need no timer of their own, and none is left when there are no more.
func TestOpContextTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newDeadlineClient(t)
		d := &c.deadlines
		rings := map[time.Time]bool{}
		for range 100 {
			op, release := c.opContext(t.Context())
			op.Done()
			_, at := d.state()
			rings[at] = true
			time.Sleep(opTimeout / 20)
			release()
		}
		if n := len(rings); n < 4 || n > 6 { // 100/20, and where it begins
			t.Errorf("in five timeouts the timer was set %d times", n)
		}
		if _, rings := d.state(); rings.IsZero() {
			t.Error("the timer is not set after the last operation: so each one sets it anew")
		}
		time.Sleep(opTimeout)
		synctest.Wait()
		if _, rings := d.state(); !rings.IsZero() || d.timer.Stop() {
			t.Error("the timer of an idle client is still set")
		}
		op, release := c.opContext(t.Context())
		op.Done()
		release()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if _, rings := d.state(); !rings.IsZero() || d.timer.Stop() {
			t.Error("the timer of a closed client is still set")
		}
		start := time.Now()
		op, release = c.opContext(t.Context())
		defer release()
		wantEnd(t, op, start, opTimeout, context.DeadlineExceeded, context.DeadlineExceeded)
	})
}

// TestDerivedFromOpContext: stores may derive from what they are given. The bubble sees to it that no goroutine is left.
func TestDerivedFromOpContext(t *testing.T) {
	why := errors.New("why")
	derive := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"WithCancel": context.WithCancel,
		"WithTimeout": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Hour)
		},
		"AfterFunc": func(ctx context.Context) (context.Context, context.CancelFunc) {
			after, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
			context.AfterFunc(ctx, func() { cancel(ctx.Err()) })
			return after, func() { cancel(nil) }
		},
	}
	for name, derive := range derive {
		t.Run(name, func(t *testing.T) {
			eachCaller(t, func(t *testing.T, c *Client, ctx context.Context, cancel context.CancelCauseFunc) {
				start := time.Now()
				op, release := c.opContext(ctx)
				derived, _ := derive(op) // as one that forgets to cancel
				release()
				<-derived.Done()
				op, release = c.opContext(ctx)
				defer release()
				derived, cancelDerived := derive(op)
				defer cancelDerived()
				if <-derived.Done(); time.Since(start) != opTimeout || !errors.Is(context.Cause(derived), context.DeadlineExceeded) {
					t.Errorf("ended after %v with %v", time.Since(start), context.Cause(derived))
				}
				if cancel == nil {
					return
				}
				op, release = c.opContext(ctx)
				defer release()
				derived, cancelDerived = derive(op)
				defer cancelDerived()
				start = time.Now()
				cancel(why)
				if <-derived.Done(); time.Since(start) != 0 || derived.Err() != context.Canceled {
					t.Errorf("ended after %v with %v", time.Since(start), derived.Err())
				}
			})
		})
	}
}

// A countingCtx counts those who wait for its end.
type countingCtx struct {
	context.Context
	waiting int
}

func (c *countingCtx) AfterFunc(f func()) func() bool {
	c.waiting++
	stop := context.AfterFunc(c.Context, f)
	return func() bool {
		c.waiting--
		return stop()
	}
}

// Done hides that there is a ctx of package context inside.
func (c *countingCtx) Done() <-chan struct{} {
	done := make(chan struct{})
	context.AfterFunc(c.Context, func() { close(done) })
	return done
}

func TestOpContextLeavesTheCallers(t *testing.T) {
	c := newDeadlineClient(t)
	ctx := &countingCtx{Context: t.Context()}
	for asked := range 3 {
		op, release := c.opContext(ctx)
		for range asked {
			op.Done()
		}
		if ctx.waiting != min(asked, 1) {
			t.Errorf("%d wait for the caller's ctx after %d calls of Done", ctx.waiting, asked)
		}
		release()
		op.Done()
		if ctx.waiting != 0 {
			t.Errorf("%d still wait for the caller's ctx", ctx.waiting)
		}
	}
}

// TestClientOutsideOfABubble: timers and channels of a bubble must not be touched from another or from outside, which ends
// the program. A client at package scope is used in all.
func TestClientOutsideOfABubble(t *testing.T) {
	c := New(Memory(), &Options{OpTimeout: 5 * time.Millisecond})
	run := func(t *testing.T) {
		op, release := c.opContext(t.Context())
		defer release()
		if <-op.Done(); op.Err() != context.DeadlineExceeded {
			t.Error(op.Err())
		}
		op, release = c.opContext(t.Context())
		op.Done()
		release()
	}
	for range 3 {
		run(t)
		synctest.Test(t, run)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// TestOpContextConcurrently is for the race detector: everything that may happen to an operation at the same time.
func TestOpContextConcurrently(t *testing.T) {
	c := New(Memory(), &Options{OpTimeout: time.Millisecond})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				ctx, cancel := context.WithCancel(t.Context())
				op, release := c.opContext(ctx)
				var inner sync.WaitGroup
				for _, f := range []func(){release, cancel, func() { <-op.Done() }, func() { _ = op.Err() }, op.(*opCtx).Glance} {
					if rand.N(3) > 0 {
						inner.Go(f)
					}
				}
				<-op.Done()
				inner.Wait()
				if op.Err() == nil {
					t.Error("done without an error")
				}
				release()
				cancel()
			}
		})
	}
	group.Wait()
	if idle, _ := c.deadlines.state(); !idle {
		t.Error("operations are left")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
