package cachify_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
)

// Processes that are further away from the store than others have their turns all the same. Here the next one to it would always
// come first.
func TestProcessesTakeTurns(t *testing.T) {
	const callers, length = 10, 20 * time.Second
	for _, hold := range []time.Duration{time.Millisecond, 20 * time.Millisecond, 150 * time.Millisecond} {
		t.Run(hold.String(), func(t *testing.T) {
			inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
				turns := make([]int, 6)
				var mu sync.Mutex
				end := time.Now().Add(length)
				var running sync.WaitGroup
				for c := range turns {
					store := &faultyStore{Store: r.store.Store}
					way := time.Duration(c+1) * 50 * time.Microsecond
					store.set(func(_ context.Context, _ string, do func() error) error {
						time.Sleep(way)
						defer time.Sleep(way)
						return do()
					})
					lock := newLock(newClient(t, store, nil), nil)
					for range callers {
						running.Go(func() {
							for time.Now().Before(end) {
								lease, err := lock.Acquire(t.Context(), 1)
								noError(t, err)
								mu.Lock()
								turns[c]++
								mu.Unlock()
								time.Sleep(hold)
								noError(t, lease.Release(t.Context()))
							}
						})
					}
				}
				running.Wait()
				if text := fmt.Sprint(turns); slices.Min(turns) < slices.Max(turns)/3 {
					t.Errorf("holdings of each process: %s", text)
				} else {
					t.Log("holdings of each process:", text)
				}
			})
		})
	}
}

// A process that is alone looks seldom whether it still is.
func TestWhoIsAloneSeldomStandsBack(t *testing.T) {
	inRig(t, cachify.LockOptions{}, func(t *testing.T, r *rig) {
		end := time.Now().Add(2 * time.Second)
		var running sync.WaitGroup
		turns := func(c *cachify.Client, end time.Time) (n int) {
			lock := newLock(c, nil)
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					for time.Now().Before(end) {
						lease, err := lock.Acquire(t.Context(), 1)
						noError(t, err)
						mu.Lock()
						n++
						mu.Unlock()
						time.Sleep(time.Millisecond)
						noError(t, lease.Release(t.Context()))
					}
				})
			}
			all.Wait()
			return n
		}
		stays := newClient(t, r.store.Store, nil)
		for range 3 {
			running.Go(func() { turns(newClient(t, r.store.Store, nil), end) })
		}
		turns(stays, end)
		running.Wait()
		if n := turns(stays, time.Now().Add(time.Second)); n < 960 {
			t.Errorf("alone it had %d turns of 1 ms in a second", n)
		}
	})
}
