package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

func TestNewOnceLimitErrors(t *testing.T) {
	c := newClient(t, cachify.Memory(), nil)
	for want, opts := range map[string]cachify.OnceOptions{
		"OnceOptions.Limit":       {Limit: -1},
		"OnceOptions.KeepOnError": {KeepOnError: true},
	} {
		_, err := cachify.NewOnce(c, "f-<n>", square, &opts)
		wantMessage(t, err, want)
	}
	for _, opts := range []cachify.OnceOptions{{Limit: 1}, {Limit: 5, Keep: true, KeepOnError: true, NoRenew: true}} {
		_, err := cachify.NewOnce(c, "f-<n>", square, &opts)
		noError(t, err)
	}
}

func TestOnceLimit(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, limit := range []int{1, 2, 5} {
			t.Run(fmt.Sprint("limit ", limit), func(t *testing.T) {
				ctx := t.Context()
				p := newPuppet(t)
				opts := &cachify.OnceOptions{Limit: limit}
				onces := []*cachify.Once[int, string]{newOnce(newClient(t, store, nil), p.fn, opts), newOnce(newClient(t, store, nil), p.fn, opts)}
				var calls []<-chan result[string]
				var runs []*run
				for n := range limit {
					equal(t, "locked", locked(t, onces[n%2]), false)
					calls = append(calls, do(ctx, onces[n%2].ReturnOnLocked("busy")))
					runs = append(runs, p.next(t))
				}
				for _, o := range onces {
					equal(t, "locked", locked(t, o), true)
					_, err := o.Do(ctx, 1)
					wantError(t, err, cachify.ErrLocked)
					equal(t, "the error is ErrFull as well", errors.Is(err, cachify.ErrFull), limit > 1)
					wantMessage(t, err, "once:job-1")
					gives(t, do(ctx, o.ReturnOnLocked("busy")), "busy")
				}
				p.idle(t)
				for n, call := range calls {
					runs[n].returns("done")
					gives(t, call, "done")
					equal(t, "locked", locked(t, onces[0]), false)
					again := do(ctx, onces[1])
					p.next(t).returns("again")
					gives(t, again, "again")
				}
				p.idle(t)
			})
		}
	})
}

func TestOnceLimitIsNeverExceeded(t *testing.T) {
	const limit = 3
	eachStore(t, func(t *testing.T, store cachify.Store) {
		var running, most, runs atomic.Int32
		fn := func(context.Context, int) (string, error) {
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer running.Add(-1)
			return fmt.Sprint(runs.Add(1)), nil
		}
		var calls []<-chan result[string]
		for range 2 {
			o := newOnce(newClient(t, store, nil), fn, &cachify.OnceOptions{Limit: limit, Wait: patience})
			for range 20 {
				calls = append(calls, do(t.Context(), o))
			}
		}
		for _, call := range calls {
			noError(t, receive(t, "a call's end", call).err)
		}
		equal(t, "runs", runs.Load(), 40)
		if most.Load() > limit {
			t.Errorf("%d at a time", most.Load())
		}
	})
}

// A forced release ends all runs that the limit has admitted.
func TestOnceLimitReleaseByForce(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		p := newPuppet(t)
		o := newOnce(newClient(t, store, nil), p.fn, &cachify.OnceOptions{Limit: 2})
		noError(t, o.Release(ctx, 1)) // nothing there is no error
		calls := []<-chan result[string]{do(ctx, o), do(ctx, o)}
		runs := []*run{p.next(t), p.next(t)}
		noError(t, newOnce(newClient(t, store, nil), p.fn, &cachify.OnceOptions{Limit: 2}).Release(ctx, 1))
		equal(t, "locked", locked(t, o), false)
		for _, r := range runs {
			r.lost(t)
			r.returns("v")
		}
		for _, call := range calls {
			got := receive(t, "a call's end", call)
			wantError(t, got.err, cachify.ErrLockLost)
			equal(t, "value", got.value, "v")
		}
	})
}

func TestOnLocked(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		type ctxKey struct{}
		ctx := context.WithValue(t.Context(), ctxKey{}, "of the caller")
		p := newPuppet(t)
		plain := newOnce(newClient(t, store, nil), p.fn, nil)
		answers := plain.OnLocked(func(ctx context.Context, n int) (string, error) {
			if n < 0 {
				return "", errDown
			}
			return fmt.Sprint(n, " ", ctx.Value(ctxKey{})), nil
		})
		first := do(ctx, answers)
		r := p.next(t)
		gives(t, do(ctx, answers), "1 of the caller")
		gives(t, do(ctx, answers.ReturnOnLocked("in progress")), "in progress") // the later one counts
		gives(t, do(ctx, plain.ReturnOnLocked("in progress").OnLocked(func(context.Context, int) (string, error) { return "answer", nil })), "answer")
		_, err := answers.OnLocked(nil).Do(ctx, 1)
		wantError(t, err, cachify.ErrLocked)
		_, err = plain.Do(ctx, 1) // it is unchanged
		wantError(t, err, cachify.ErrLocked)
		other := async(func() (string, error) { return answers.Do(ctx, -1) })
		r2 := p.next(t)
		_, err = answers.Do(ctx, -1)
		wantError(t, err, errDown) // the answer's own error
		r2.returns("two")
		gives(t, other, "two")
		r.returns("one")
		gives(t, first, "one")
		p.idle(t)
	})
}

// An ErrLocked or ErrFull of the function is its own, and no reason for the answer.
func TestErrorsOfTheFunctionAreItsOwn(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		for _, limit := range []int{0, 2} {
			for _, own := range []error{cachify.ErrLocked, cachify.ErrFull, fmt.Errorf("inner: %w", cachify.ErrLocked), cachify.ErrLockLost} {
				o := newOnce(newClient(t, store, nil), func(context.Context, int) (string, error) { return "v", own }, &cachify.OnceOptions{Limit: limit}).
					OnLocked(func(context.Context, int) (string, error) {
						t.Error("the answer was asked for")
						return "", nil
					})
				v, err := o.Do(t.Context(), 1)
				equal(t, "value", v, "v")
				equal(t, "error", err, own)
				equal(t, "locked", locked(t, o), false)
			}
		}
	})
}

// Who gives up gets no answer for those who were told that it is locked.
func TestNoAnswerForWhoGaveUp(t *testing.T) {
	for _, limit := range []int{0, 2} {
		synctest.Test(t, func(t *testing.T) {
			p := newPuppet(t)
			o := newOnce(newClient(t, cachify.Memory(), nil), p.fn, &cachify.OnceOptions{Limit: limit, Wait: time.Hour})
			var calls []<-chan result[string]
			var runs []*run
			for range max(limit, 1) {
				calls = append(calls, do(t.Context(), o))
				runs = append(runs, p.next(t))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			got := <-do(ctx, o.ReturnOnLocked("locked"))
			wantError(t, got.err, context.DeadlineExceeded)
			wantError(t, got.err, cachify.ErrLocked)
			began := time.Now()
			v, err := o.ReturnOnLocked("locked").Do(t.Context(), 1)
			noError(t, err)
			equal(t, "value", v, "locked")
			equal(t, "it took", time.Since(began), time.Hour)
			for n, call := range calls {
				runs[n].returns("done")
				gives(t, call, "done")
			}
		})
	}
}

// What is kept after which end of a run.
func TestOnceKeepOnError(t *testing.T) {
	for _, limit := range []int{0, 2} {
		for _, test := range []struct {
			keep, onError      bool
			value, err, panics bool // what stays locked
		}{{false, false, false, false, false}, {true, false, true, false, false}, {true, true, true, true, false}} {
			t.Run(fmt.Sprintf("limit %d, %+v", limit, test), func(t *testing.T) {
				eachStore(t, func(t *testing.T, store cachify.Store) {
					end := func() (string, error) { return "v", nil }
					o := newOnce(newClient(t, store, nil), func(context.Context, int) (string, error) { return end() },
						&cachify.OnceOptions{Limit: limit, Keep: test.keep, KeepOnError: test.onError, TTL: time.Hour})
					run := func(what string, kept bool, f func() (string, error)) {
						t.Helper()
						for range max(limit, 1) {
							end = f
							func() {
								defer func() { _ = recover() }()
								if _, err := o.Do(t.Context(), 1); errors.Is(err, cachify.ErrLocked) {
									t.Errorf("%s: %v", what, err)
								}
							}()
						}
						equal(t, "locked after "+what, locked(t, o), kept)
						noError(t, o.Release(t.Context(), 1))
						equal(t, "locked after Release", locked(t, o), false)
					}
					run("a value", test.value, func() (string, error) { return "v", nil })
					run("an error", test.err, func() (string, error) { return "", errDown })
					run("a panic", test.panics, func() (string, error) { panic("no") })
				})
			})
		}
	}
}

// With NoRenew what is kept is kept for the TTL from the start of the run, to the moment.
func TestOnceKeepsForItsTTL(t *testing.T) {
	for _, limit := range []int{0, 3} {
		inBubble(t, cachify.OnceOptions{Keep: true, NoRenew: true, TTL: time.Hour, Limit: limit}, func(t *testing.T, l *lockTest) {
			began := time.Now()
			for range max(limit, 1) {
				call := do(t.Context(), l.once)
				r := l.next(t)
				time.Sleep(time.Minute)
				r.returns("v")
				gives(t, call, "v")
			}
			time.Sleep(time.Until(began.Add(time.Hour)) - 1)
			equal(t, "locked", locked(t, l.once), true)
			time.Sleep(time.Nanosecond)
			equal(t, "locked", locked(t, l.once), false)
		})
	}
}
