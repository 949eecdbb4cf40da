package redisstore

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

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
	v, stamps, err := h.store.Lease(h.ctx, h.id, time.Second, h.keys, h.tags[:tags])
	if err != nil || len(v[0]) != 300 || len(stamps) != tags {
		b.Fatal(v, stamps, err)
	}
}
