package cachify_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
)

func TestHolder(t *testing.T) {
	host, err := os.Hostname()
	noError(t, err)
	for _, label := range []string{"", "nightly", "a label with spaces", "two\nlines", " ", "ü \x00\xff", strings.Repeat("long ", 100)} {
		t.Run(fmt.Sprintf("%.20q", label), func(t *testing.T) {
			eachStore(t, func(t *testing.T, store cachify.Store) {
				ctx := t.Context()
				opts := &cachify.LockOptions{Label: label, TTL: time.Minute}
				lock, sem := newLock(newClient(t, store, nil), opts), newSemaphore(newClient(t, store, nil), 3, opts)
				forGood := newLock(newClient(t, store, nil), &cachify.LockOptions{Label: label, TTL: cachify.NoExpiry})
				check := func(h cachify.Holder, ttl time.Duration) {
					t.Helper()
					equal(t, "Host", h.Host, strings.ReplaceAll(host, " ", "_"))
					equal(t, "PID", h.PID, os.Getpid())
					equal(t, "Label", h.Label, label)
					if ago := time.Since(h.Since); ago < -time.Millisecond || ago > patience {
						t.Errorf("Since is %v ago", ago)
					}
					if ttl == cachify.NoExpiry && h.TTL != ttl || ttl != cachify.NoExpiry && (h.TTL > ttl || h.TTL < ttl-patience) {
						t.Errorf("TTL %v, want %v", h.TTL, ttl)
					}
				}
				_, there, err := lock.Holder(ctx, 1)
				noError(t, err)
				equal(t, "there is one", there, false)
				for _, test := range []struct {
					lock *cachify.Lock[int]
					ttl  time.Duration
				}{{lock, time.Minute}, {forGood, cachify.NoExpiry}} {
					lease := try(t, test.lock)
					h, there, err := lock.Holder(ctx, 1)
					noError(t, err)
					equal(t, "there is one", there, true)
					check(h, test.ttl)
					noError(t, lease.Release(ctx))
				}
				for n := range 3 {
					hs, err := sem.Holders(ctx, 1)
					noError(t, err)
					equal(t, "holders", len(hs), n)
					for _, h := range hs {
						check(h, time.Minute)
					}
					_, err = sem.TryAcquire(ctx, 1)
					noError(t, err)
				}
			})
		})
	}
}

// What holds the key need not be a lock of cachify.
func TestHolderOfAForeignKey(t *testing.T) {
	eachStore(t, func(t *testing.T, store cachify.Store) {
		ctx := t.Context()
		lock := newLock(newClient(t, store, nil), nil)
		for _, token := range []string{"x", "five words that say nothing", "token host pid 17 label", "token host 17 noon label", "", "a b c d"} {
			_, _, err := store.Set(ctx, nil, []string{"lock:job-1"}, [][]byte{[]byte(token)}, []time.Duration{time.Hour}, nil)
			noError(t, err)
			h, there, err := lock.Holder(ctx, 1)
			noError(t, err)
			equal(t, "there is one", there, true)
			equal(t, "holder", fmt.Sprint(h.Host, h.PID, h.Label, h.Since.IsZero()), fmt.Sprint("", 0, token, true))
			_, err = lock.TryAcquire(ctx, 1)
			wantError(t, err, cachify.ErrLocked)
			noError(t, lock.Release(ctx, 1))
			noError(t, try2(ctx, lock, 1))
		}
	})
}
