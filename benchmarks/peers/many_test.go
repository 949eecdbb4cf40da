//go:build unix

package peers

import (
	"context"
	"testing"
)

// many are calls for a hundred keys that are there.
func (b *bench) many(t *testing.T) {
	t.Run("200 B", func(t *testing.T) { manyOf(t, b, "200 B", newSmall) })
	t.Run("10 KB", func(t *testing.T) { manyOf(t, b, "10 KB", newBig) })
}

func manyOf[V any](t *testing.T, b *bench, kase string, value func(int64) V) {
	contenders := warm(t, b, inRedis, value)
	as := make([]args, 100)
	for i := range as {
		as[i] = user(int64(i))
	}
	rounds, slice := b.turns(1)
	for range rounds {
		for _, c := range contenders {
			if c.cache.getMany == nil || c.name == autoPipeline[V]().name {
				continue
			}
			b.run.Add("many", kase, "ns", c.name, perCall(t, 1, slice, func(ctx context.Context, _ int) error {
				_, err := c.cache.getMany(ctx, as)
				return err
			}))
		}
	}
	noLoads(t, b, contenders)
}
