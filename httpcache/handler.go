package httpcache

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-cachify/cachify"
)

// A handling is one run of a handler, as SetTTL, NoStore and AddTags see it through the request.
type handling struct {
	client *cachify.Client
	url    string // as sent

	mu      sync.Mutex // the handler may use several goroutines
	opts    *Options
	ttl     time.Duration
	ttlSet  bool
	noStore bool
	tags    []string
}

type handlingKey struct{}

func (x *exchange) newHandling() handling {
	return handling{client: x.c.core.client, url: sentURL(x.r), opts: &x.c.opts}
}

// around gives the handling of r by a cache of the same client that r comes from. A handler may also have made r, to call another
// one: that is a request of its own.
func (c *core) around(r *http.Request) *handling {
	hd := handlingOf(r.Context())
	if hd == nil || hd.client != c.client || hd.url != sentURL(r) {
		return nil
	}
	return hd
}

func handlingOf(ctx context.Context) *handling {
	hd, _ := ctx.Value(handlingKey{}).(*handling)
	return hd
}

// SetTTL decides, from inside a handler, for how long its answer is stored. It comes before Cache-Control, Expires and Options.TTL, but
// stores nothing that no-store, private, Set-Cookie or Authorization keep from being stored. With d zero or negative the
// answer is not stored. The last call counts. Call it before the first byte of the answer is written. r is the request that the
// handler was given, or one made of it; with another, or where there is no cache, SetTTL does nothing.
func SetTTL(r *http.Request, d time.Duration) {
	if hd := handlingOf(r.Context()); hd != nil {
		hd.mu.Lock()
		defer hd.mu.Unlock()
		hd.ttl, hd.ttlSet = d, true
	}
}

// NoStore decides, from inside a handler, that its answer is not stored and not given to others. It may be called until the
// handler returns, but other requests wait until then if it is not called before the first byte is written.
// r is the request that the handler was given, or one made of it; with another NoStore does nothing.
func NoStore(r *http.Request) {
	if hd := handlingOf(r.Context()); hd != nil {
		hd.mu.Lock()
		defer hd.mu.Unlock()
		hd.noStore = true
	}
}

// AddTags adds tags, from inside a handler, to its answer. [Cache.PurgeTags], and [cachify.Client.ResetTags], with any of them
// make it a miss. The header Surrogate-Key, with tags between spaces, does the same. Empty tags are left out. It may be called
// until the handler returns. r is the request that the handler was given, or one made of it; with another AddTags does nothing.
func AddTags(r *http.Request, tags ...string) {
	if hd := handlingOf(r.Context()); hd != nil {
		hd.mu.Lock()
		defer hd.mu.Unlock()
		for _, tag := range tags {
			if tag != "" {
				hd.tags = addOnce(hd.tags, tag)
			}
		}
	}
}

// A wish is what a handler wants so far.
type wish struct {
	opts    *Options // that count for it
	ttl     time.Duration
	ttlSet  bool
	noStore bool
	tags    []string
}

func (hd *handling) wish() wish {
	hd.mu.Lock()
	defer hd.mu.Unlock()
	return wish{hd.opts, hd.ttl, hd.ttlSet, hd.noStore || hd.ttlSet && hd.ttl <= 0, slices.Clone(hd.tags)}
}

// adopt makes the options of a cache count that lies within this handler, nearer to what is made. The key has been made by
// those of the outer one: where they tell requests apart differently, nothing is stored.
func (hd *handling) adopt(inner *Options) {
	hd.mu.Lock()
	defer hd.mu.Unlock()
	hd.noStore = hd.noStore || !hd.opts.keysAs(inner)
	hd.opts = inner
}
