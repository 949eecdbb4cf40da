package cachify_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-cachify/cachify"
)

// The hand-over of a lease is held up at the store, done or not, while its waiter gives up or stays, alone or before
// another. Whatever happens, who stays has the lock in about a second, and nothing is left when all have released theirs.
func TestHandOverMeetsCancellation(t *testing.T) {
	faults := map[string]func(gate <-chan struct{}, do func() error) error{
		"is late": func(gate <-chan struct{}, do func() error) error {
			<-gate
			return do()
		},
		"has a late reply": func(gate <-chan struct{}, do func() error) error {
			err := do()
			<-gate
			return err
		},
		"has a lost reply": func(gate <-chan struct{}, do func() error) error {
			_ = do()
			<-gate
			return errDown
		},
		"fails": func(gate <-chan struct{}, do func() error) error {
			<-gate
			return errDown
		},
	}
	for name, fault := range faults {
		for _, ttl := range []time.Duration{lockTTL, cachify.NoExpiry} {
			for _, leaves := range []bool{false, true} {
				for _, second := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s, TTL %v, waiter leaves %v, second waiter %v", name, ttl, leaves, second), func(t *testing.T) {
						inRig(t, cachify.LockOptions{TTL: ttl}, func(t *testing.T, r *rig) {
							holder := try(t, r.lock)
							ctx, cancel := context.WithCancel(t.Context())
							defer cancel()
							first := acquire(ctx, r.lock)
							synctest.Wait()
							var next <-chan result[*cachify.Lease]
							if second {
								next = acquire(t.Context(), r.lock)
								synctest.Wait()
							}
							gate := make(chan struct{})
							r.store.set(func(_ context.Context, op string, do func() error) error {
								if op == "HandOver" {
									return fault(gate, do)
								}
								return do()
							})
							released := async(func() (bool, error) { return true, holder.Release(t.Context()) })
							synctest.Wait()
							if leaves {
								cancel()
								synctest.Wait()
							}
							r.store.set(nil)
							began := time.Now()
							close(gate)
							if err := (<-released).err; err != nil && !errors.Is(err, errDown) {
								t.Errorf("Release: %v", err)
							}
							if got := <-first; !leaves {
								noError(t, got.err)
								noError(t, got.value.Release(t.Context()))
							} else if got.err == nil {
								_ = got.value.Release(t.Context()) // it was handed over before it could give up
							} else {
								wantError(t, got.err, context.Canceled)
								wantError(t, got.err, cachify.ErrLocked)
							}
							if second {
								noError(t, leased(t, next).Release(t.Context()))
							}
							if took := time.Since(began); took > time.Second {
								t.Errorf("who waited had the lock after %v", took)
							}
							time.Sleep(5 * time.Second)
							equal(t, "held by nobody", r.held(t), false)
						})
					})
				}
			}
		}
	}
}

// The wait ends in the middle of an attempt, and the lease has been handed over just before. Who then has the lease, has it,
// and if nobody does it is free.
func TestHandOverMeetsTheEndOfAnAttempt(t *testing.T) {
	const wait = 50 * time.Millisecond
	attempts := map[string]func(gate <-chan struct{}, do func() error) error{
		"before the hand-over": func(gate <-chan struct{}, do func() error) error { err := do(); <-gate; return err },
		"after the hand-over":  func(gate <-chan struct{}, do func() error) error { <-gate; return do() },
	}
	for name, attempt := range attempts {
		for _, ttl := range []time.Duration{lockTTL, cachify.NoExpiry} {
			for _, cancelled := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, TTL %v, cancelled %v", name, ttl, cancelled), func(t *testing.T) {
					inRig(t, cachify.LockOptions{Wait: wait, TTL: ttl}, func(t *testing.T, r *rig) {
						holder := try(t, r.lock)
						ctx, cancel := context.WithCancel(t.Context())
						defer cancel()
						gate := make(chan struct{})
						r.store.set(func(_ context.Context, op string, do func() error) error {
							if op == "Lock" && r.store.count("Lock") == 3 { // after the holder's, and the waiter's before it queued up
								return attempt(gate, do)
							}
							return do()
						})
						waits := acquire(ctx, r.lock)
						synctest.Wait()
						equal(t, "attempts", r.store.count("Lock"), 3)
						noError(t, holder.Release(t.Context()))
						equal(t, "hand-overs", r.store.count("HandOver"), 1)
						if cancelled {
							cancel()
						}
						time.Sleep(wait + 1)
						r.store.set(nil)
						close(gate)
						got := <-waits
						synctest.Wait()
						if got.err == nil {
							if got.value.Context().Err() == nil {
								time.Sleep(time.Minute)
								equal(t, "the lease is valid", got.value.Valid(), true)
								equal(t, "held", r.held(t), true)
							}
							noError(t, got.value.Release(t.Context()))
						} else {
							wantError(t, got.err, cachify.ErrLocked)
							equal(t, "the error is the ctx'", errors.Is(got.err, context.Canceled), cancelled)
						}
						time.Sleep(time.Second)
						equal(t, "held by nobody", r.held(t), false)
					})
				})
			}
		}
	}
}
