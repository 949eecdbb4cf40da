package cachify

import (
	"context"
	"slices"
	"sync"
	"time"
)

// A call is one run of a cached function, as SetTTL, NoStore and AddTags see it through the function's ctx.
type call struct {
	client *Client
	keys   []string
	outer  *call // the run of another cached function that this one is made in

	mu      sync.Mutex // the function may use several goroutines
	ttl     time.Duration
	ttlSet  bool
	noStore bool
	tags    []string
}

type callKey struct{}

// withCall marks ctx as that of a run of a cached function for keys.
func withCall(ctx context.Context, c *Client, keys []string) (context.Context, *call) {
	cl := &call{client: c, keys: keys, outer: callOf(ctx)}
	return context.WithValue(ctx, callKey{}, cl), cl
}

func callOf(ctx context.Context) *call {
	cl, _ := ctx.Value(callKey{}).(*call)
	return cl
}

// loading says whether ctx is that of a run for key: to wait for that run from inside of it would be for ever.
func loading(ctx context.Context, c *Client, key string) bool {
	for cl := callOf(ctx); cl != nil; cl = cl.outer {
		if cl.client == c && slices.Contains(cl.keys, key) {
			return true
		}
	}
	return false
}

// SetTTL decides, from inside a cached function, how long the result of this run lives, [NoExpiry] for ever.
// It overrides the wrapper's TTL. With d zero or otherwise negative the result is not stored. ctx is the one that the
// function was given; with any other ctx SetTTL does nothing. The last call counts. In a batch it applies to
// all of the batch.
func SetTTL(ctx context.Context, d time.Duration) {
	if cl := callOf(ctx); cl != nil {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.ttl, cl.ttlSet = d, true
	}
}

// NoStore decides, from inside a cached function, that the result of this run is not stored. Callers that are
// waiting for the run in the same process still get it. ctx is the one that the function was given; with any
// other ctx NoStore does nothing.
func NoStore(ctx context.Context) {
	if cl := callOf(ctx); cl != nil {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		cl.noStore = true
	}
}

// AddTags adds tags, from inside a cached function, to the result of this run, beside CachedOptions.Tags.
// [Client.ResetTags] with any of them makes the entry a miss. Empty tags are left out. ctx is the one that the function
// was given; with any other ctx AddTags does nothing.
func AddTags(ctx context.Context, tags ...string) {
	if cl := callOf(ctx); cl != nil {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		for _, tag := range tags {
			if tag != "" && !slices.Contains(cl.tags, tag) {
				cl.tags = append(cl.tags, tag)
			}
		}
	}
}

// decided returns what the run wants, with ttl as the wrapper's own.
func (cl *call) decided(ttl time.Duration) (_ time.Duration, store bool, tags []string) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.ttlSet {
		ttl = cl.ttl
	}
	return ttl, !cl.noStore && (ttl > 0 || ttl == NoExpiry), cl.tags
}
