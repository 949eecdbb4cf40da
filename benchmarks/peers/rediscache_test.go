//go:build unix

package peers

import (
	"context"
	"testing"

	rediscache "github.com/go-redis/cache/v9"

	"github.com/go-cachify/cachify/internal/redistest"
)

func redisCache[V any]() peer[V] {
	return peer[V]{
		name: "go-redis/cache", module: "github.com/go-redis/cache/v9",
		how: "`Once` with `Do`; `Delete` to reset. MessagePack and S2, its defaults. Near: its TinyLFU, decoded per hit",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			o := &rediscache.Options{Redis: redistest.NewClient(t, addr)}
			switch lv {
			case nearShared:
				return nil
			case nearDecoded:
				o.LocalCache = rediscache.NewTinyLFU(size, ttl)
			}
			c := rediscache.New(o)
			const prefix = "rediscache:"
			return &cache[V]{
				get: func(ctx context.Context, a args) (v V, err error) {
					err = c.Once(&rediscache.Item{Ctx: ctx, Key: a.key(prefix), Value: &v, TTL: ttl, Do: func(i *rediscache.Item) (any, error) {
						v, err := load(i.Ctx, a)
						return &v, err
					}})
					return v, err
				},
				reset: func(ctx context.Context, a args) error { return c.Delete(ctx, a.key(prefix)) },
			}
		},
	}
}
