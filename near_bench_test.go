package cachify_test

import (
	"context"
	"testing"

	"github.com/maypok86/otter/v2"

	"github.com/go-cachify/cachify"
)

type nearArgs struct {
	Tenant string
	UserID int64
}

// BenchmarkNearHit has beside a near hit what that is made of: a look-up in otter, and the rendering of the key. A reset of tags that the
// entry is not under is to cost its hits nothing.
func BenchmarkNearHit(b *testing.B) {
	c := cachify.New(cachify.Memory(), nil)
	defer c.Close()
	f := cachify.Must(cachify.NewCached(c, "user-<tenant>-<user_id>", func(_ context.Context, a nearArgs) (int64, error) { return a.UserID, nil },
		&cachify.CachedOptions{Near: &cachify.NearOptions{}}))
	args, ctx := nearArgs{"acme", 1234567}, context.Background()
	key, _ := f.Key(args)
	raw := otter.Must(&otter.Options[string, *int64]{MaximumSize: cachify.DefaultNearSize})
	raw.Set(key, &args.UserID)
	for range 3 {
		_, _ = f.Get(ctx, args)
	}
	each := func(name string, call func() bool) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !call() {
					b.Fatal("no hit")
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.SetParallelism(4)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if !call() {
						b.Error("no hit")
					}
				}
			})
		})
	}
	each("otter", func() bool { _, ok := raw.GetIfPresent(key); return ok })
	each("render", func() bool { k, err := f.Key(args); return err == nil && k != "" })
	each("hit", func() bool { v, err := f.Get(ctx, args); return err == nil && v == args.UserID })
	if err := c.ResetTags(ctx, "another"); err != nil {
		b.Fatal(err)
	}
	each("hit-after-a-reset", func() bool { v, err := f.Get(ctx, args); return err == nil && v == args.UserID })
	if loads := c.Stats().Loads; loads != 1 {
		b.Fatalf("%d loads", loads)
	}
}
