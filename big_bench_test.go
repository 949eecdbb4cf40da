package cachify_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

type bigValue struct{ Data []byte }

// BenchmarkBigValue has values of 1 MB: a hit in the store, a hit in the near cache that is decoded, and a Put.
func BenchmarkBigValue(b *testing.B) {
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	ctx := context.Background()
	load := func(context.Context, int) (bigValue, error) { return bigValue{data}, nil }
	c := cachify.New(cachify.Redis(redistest.Start(b).Client(b)), nil)
	defer c.Close()
	far := cachify.Must(cachify.NewCached(c, "big-<n>", load, nil))
	near := cachify.Must(cachify.NewCached(c, "big-<n>", load, &cachify.CachedOptions{Near: &cachify.NearOptions{}}))
	for c.Stats().NearHits == 0 {
		_, _ = near.Get(ctx, 1)
	}
	for name, call := range map[string]func() error{
		"hit":      func() error { _, err := far.Get(ctx, 1); return err },
		"near hit": func() error { _, err := near.Get(ctx, 1); return err },
		"put":      func() error { return far.Put(ctx, 2, bigValue{data}) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
