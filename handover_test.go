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
						equal(t, "hand-overs to who is trying by itself", r.store.count("HandOver"), 0)
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

// Each hand-over is one call of the store, and wakes the one whose turn it is. After eight holdings the lock is released for all.
func TestAHandOverIsOneCall(t *testing.T) {
	const waiters = 20
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		lease := try(t, r.lock)
		var waits []<-chan result[*cachify.Lease]
		for range waiters {
			waits = append(waits, acquire(t.Context(), r.lock))
			synctest.Wait()
		}
		calls := func() [4]int {
			return [4]int{r.store.count("HandOver"), r.store.count("Unlock"), r.store.count("Lock"), r.store.count("Holders")}
		}
		for i, w := range waits {
			before := calls()
			noError(t, lease.Release(t.Context()))
			equal(t, "the cause with which the lease ended", context.Cause(lease.Context()), context.Canceled)
			synctest.Wait()
			want := [4]int{1, 0, 0, 0}
			if i%8 == 7 {
				time.Sleep(2 * time.Millisecond) // others may come first
				want = [4]int{0, 1, 1, 0}        // the next one takes it itself
			}
			after := calls()
			for n := range after {
				after[n] -= before[n]
			}
			equal(t, fmt.Sprintf("calls of HandOver, Unlock, Lock and Holders for release %d", i), after, want)
			lease = leased(t, w)
			for _, later := range waits[i+1:] {
				equal(t, "others that have it", len(later), 0)
			}
		}
		time.Sleep(5 * lockTTL) // it is renewed as any other
		equal(t, "valid", lease.Valid(), true)
		noError(t, lease.Release(t.Context()))
		equal(t, "held", r.held(t), false)
	})
}

func TestLongHoldingsAreNotHandedOver(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		lease := try(t, r.lock)
		waits := acquire(t.Context(), r.lock)
		time.Sleep(101 * time.Millisecond)
		noError(t, lease.Release(t.Context()))
		equal(t, "hand-overs", r.store.count("HandOver"), 0)
		noError(t, leased(t, waits).Release(t.Context()))
	})
}

// What a hand-over fails with is no reason to keep the lock, if the store can be reached: a server that is out of memory can
// still release locks.
func TestAHandOverThatIsRefused(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		lease := try(t, r.lock)
		waits := acquire(t.Context(), r.lock)
		synctest.Wait()
		r.store.set(func(_ context.Context, op string, do func() error) error {
			if op == "HandOver" {
				return reply("OOM command not allowed when used memory > 'maxmemory'")
			}
			return do()
		})
		noError(t, lease.Release(t.Context()))
		began := time.Now()
		noError(t, leased(t, waits).Release(t.Context()))
		equal(t, "the wait took", time.Since(began), 0)
	})
}

// A reply is an error that a Redis server answers.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

// A slot is handed over to the first waiter while it is about to take another slot that has become free: the next waiter has
// that one then.
func TestAFreeSlotIsNotMissedForAHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		here, there := newSemaphore(newClient(t, store, nil), 2, nil), newSemaphore(newClient(t, store.Store, nil), 2, nil)
		mine, theirs := cachify.Must(here.TryAcquire(ctx, 1)), cachify.Must(there.TryAcquire(ctx, 1))
		var waits []<-chan result[*cachify.Lease]
		for range 2 {
			waits = append(waits, async(func() (*cachify.Lease, error) { return here.Acquire(ctx, 1) }))
			synctest.Wait()
		}
		gate := make(chan struct{})
		store.set(func(_ context.Context, op string, do func() error) error {
			if op == "Lock" {
				<-gate
			}
			return do()
		})
		noError(t, theirs.Release(ctx))
		synctest.Wait() // the first waiter's attempt is on its way
		noError(t, mine.Release(ctx))
		store.set(nil)
		began := time.Now()
		close(gate)
		for _, w := range waits {
			lease := leased(t, w)
			equal(t, "the wait took", time.Since(began), 0)
			defer func() { noError(t, lease.Release(ctx)) }()
		}
	})
}

// A slot becomes free while another one is being handed over: the heir does not take both.
func TestAnHeirDoesNotTakeTwoSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		store := &faultyStore{Store: cachify.Memory()}
		opts := &cachify.LockOptions{TTL: cachify.NoExpiry}
		sem := newSemaphore(newClient(t, store, nil), 2, opts)
		first, second := cachify.Must(sem.TryAcquire(ctx, 1)), cachify.Must(sem.TryAcquire(ctx, 1))
		waits := async(func() (*cachify.Lease, error) { return sem.Acquire(ctx, 1) })
		synctest.Wait()
		gate, attempts := make(chan struct{}), store.count("Lock")
		store.set(func(_ context.Context, op string, do func() error) error {
			if op == "HandOver" {
				<-gate
			}
			return do()
		})
		released := async(func() (bool, error) { return true, first.Release(ctx) })
		synctest.Wait()
		noError(t, second.Release(ctx))
		synctest.Wait()
		equal(t, "attempts while a slot is handed over", store.count("Lock"), attempts)
		close(gate)
		gives(t, released, true)
		noError(t, leased(t, waits).Release(ctx))
		time.Sleep(5 * time.Second)
		n, err := sem.InUse(ctx, 1)
		noError(t, err)
		equal(t, "slots in use", n, 0)
	})
}
