//go:build unix

package peers

import (
	"context"
	"testing"

	"github.com/maypok86/otter/v2"

	"github.com/go-cachify/cachify"
)

// rawOtter is the near cache that cachify is built on, alone.
func rawOtter[V any]() peer[V] {
	return peer[V]{
		name: "otter", module: "github.com/maypok86/otter/v2", usual: nearShared, memory: true,
		how: "memory of one process alone: the key by cachify's `Key`, so that what comes beyond both is seen; `Get` with a loader, the decoded value shared; `Invalidate` to reset",
		open: func(t testing.TB, _ string, lv level, load loader[V]) *cache[V] {
			if lv != nearShared {
				return nil
			}
			c := otter.Must(&otter.Options[string, *V]{MaximumSize: size})
			t.Cleanup(func() { c.StopAllGoroutines() })
			client := cachify.New(cachify.Memory(), &cachify.Options{Prefix: "otter:"})
			t.Cleanup(func() { noError(t, client.Close()) })
			key := cachify.Must(cachify.NewCached(client, template, cachify.Func[args, V](load), nil)).Key
			return &cache[V]{
				get: func(ctx context.Context, a args) (V, error) {
					key, err := key(a)
					if err != nil {
						return *new(V), err
					}
					if v, ok := c.GetIfPresent(key); ok {
						return *v, nil
					}
					return otterFill(ctx, c, key, a, load)
				},
				reset: func(_ context.Context, a args) error {
					key, err := key(a)
					c.Invalidate(key)
					return err
				},
			}
		},
	}
}

// otterFill is apart from get so that a hit does not pay for the loader's closure.
func otterFill[V any](ctx context.Context, c *otter.Cache[string, *V], key string, a args, load loader[V]) (V, error) {
	v, err := c.Get(ctx, key, otter.LoaderFunc[string, *V](func(ctx context.Context, _ string) (*V, error) {
		v, err := load(ctx, a)
		return &v, err
	}))
	if err != nil {
		return *new(V), err
	}
	return *v, nil
}
