package redisstore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bsm/redislock"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/redistest"
)

// BenchmarkHit gives what a Lease costs that finds a value, and what go-redis' own GET of it costs, at one goroutine.
func BenchmarkHit(b *testing.B) {
	h := newHit(b)
	b.Run("raw GET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.raw(b)
		}
	})
	for n := range len(h.tags) + 1 {
		b.Run(fmt.Sprintf("Lease with %d tags", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.lease(b, n)
			}
		})
	}
}

// BenchmarkHitRatio gives the ratio of their medians, taken in turn so that both meet the same noise.
func BenchmarkHitRatio(b *testing.B) {
	h := newHit(b)
	for n := range len(h.tags) + 1 {
		b.Run(fmt.Sprintf("Lease with %d tags", n), func(b *testing.B) {
			var raw, lease []time.Duration
			for b.Loop() {
				start := time.Now()
				h.raw(b)
				between := time.Now()
				h.lease(b, n)
				raw, lease = append(raw, between.Sub(start)), append(lease, time.Since(between))
			}
			slices.Sort(raw)
			slices.Sort(lease)
			b.ReportMetric(float64(raw[len(raw)/2]), "raw-ns")
			b.ReportMetric(float64(lease[len(lease)/2]), "lease-ns")
			b.ReportMetric(float64(lease[len(lease)/2])/float64(raw[len(raw)/2]), "ratio")
		})
	}
}

// A hit is a value of 300 bytes with tags on a server of its own.
type hit struct {
	ctx   context.Context
	get   func(ctx context.Context, key string) ([]byte, error)
	store *Store
	keys  []string
	tags  []string
	id    []byte
}

func newHit(b *testing.B) *hit {
	rdb := redistest.Start(b).Client(b)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	h := &hit{
		ctx:   ctx,
		get:   func(ctx context.Context, key string) ([]byte, error) { return rdb.Get(ctx, key).Bytes() },
		store: New(rdb),
		keys:  []string{"bench:cached:read_user-42"},
		tags:  []string{"bench:tag:{bench}", "bench:tag:{bench}users"},
		id:    make([]byte, 32),
	}
	if _, _, err := h.store.Set(ctx, nil, h.keys, [][]byte{make([]byte, 300)}, []time.Duration{time.Hour}, h.tags); err != nil {
		b.Fatal(err)
	}
	return h
}

func (h *hit) raw(b *testing.B) {
	if v, err := h.get(h.ctx, h.keys[0]); err != nil || len(v) != 300 {
		b.Fatal(v, err)
	}
}

func (h *hit) lease(b *testing.B, tags int) {
	v, stamps, err := h.store.Lease(h.ctx, h.id, time.Second, h.keys, h.tags[:tags], nil)
	if err != nil || len(v[0]) != 300 || len(stamps) != tags {
		b.Fatal(v, stamps, err)
	}
}

// BenchmarkLock gives what a Lock with its Unlock costs, and what redislock's own Obtain and Release cost, at one goroutine.
func BenchmarkLock(b *testing.B) {
	l := newLocking(b)
	for _, way := range l.ways() {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.use(b)
			}
		})
	}
}

// BenchmarkLockRatio gives the ratio of their medians, taken in turn so that both meet the same noise.
func BenchmarkLockRatio(b *testing.B) {
	l := newLocking(b)
	for _, way := range l.ways()[1:] {
		b.Run(way.name, func(b *testing.B) {
			var plain, own []time.Duration
			for b.Loop() {
				start := time.Now()
				l.redislock(b)
				between := time.Now()
				way.use(b)
				plain, own = append(plain, between.Sub(start)), append(own, time.Since(between))
			}
			slices.Sort(plain)
			slices.Sort(own)
			b.ReportMetric(float64(plain[len(plain)/2]), "redislock-ns")
			b.ReportMetric(float64(own[len(own)/2]), "own-ns")
			b.ReportMetric(float64(own[len(own)/2])/float64(plain[len(plain)/2]), "ratio")
		})
	}
}

// A locking is a free lock on a server of its own.
type locking struct {
	ctx   context.Context
	plain *redislock.Client
	store *Store
}

func newLocking(b *testing.B) *locking {
	rdb := redistest.Start(b).Client(b)
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	b.Cleanup(cancel)
	return &locking{ctx, redislock.New(rdb), New(rdb)}
}

type way struct {
	name string
	use  func(b *testing.B)
}

func (l *locking) ways() []way {
	lock := locks("0123456789abcdef012345", 30*time.Second, "bench:lock:user-42")
	return []way{
		{"redislock", l.redislock},
		{"Lock", func(b *testing.B) { l.claim(b, lock) }},
		{"fenced Lock", func(b *testing.B) { l.claim(b, fenced(lock)) }},
		{"Lock of a slot", func(b *testing.B) { l.claim(b, slot(lock.Token, lock.TTL, "bench:sem:user-42", 10)) }},
	}
}

func (l *locking) redislock(b *testing.B) {
	lock, err := l.plain.Obtain(l.ctx, "bench:lock:user-42", 30*time.Second, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := lock.Release(l.ctx); err != nil {
		b.Fatal(err)
	}
}

func (l *locking) claim(b *testing.B, c claim.Claim) {
	if _, ok, err := l.store.Lock(l.ctx, c, ""); !ok || err != nil {
		b.Fatal(ok, err)
	}
	if ok, err := l.store.Unlock(l.ctx, c); !ok || err != nil {
		b.Fatal(ok, err)
	}
}

// BenchmarkExtend gives what it costs to extend the locks of a client that holds ten thousand.
func BenchmarkExtend(b *testing.B) {
	l := newLocking(b)
	claims := make([]claim.Claim, 10_000)
	for i := range claims {
		claims[i] = locks("token", time.Hour, fmt.Sprint("bench:lock:", i))
		if _, ok, err := l.store.Lock(l.ctx, claims[i], ""); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if done, errs := l.store.Extend(l.ctx, claims); errs != nil || slices.Contains(done, false) {
			b.Fatal(done, errs)
		}
	}
}
