//go:build unix

package peers

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/go-cachify/cachify/internal/redistest"
)

const goRedisModule = "github.com/redis/go-redis/v9"

// goRedis is what one writes without a cache library: GET, and on a miss the function and SET.
func goRedis[V any]() peer[V] {
	return peer[V]{
		name: "go-redis", module: goRedisModule,
		how: "the client as it is: GET, decode; else run the function and SET. MGET for many. DEL to reset",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			if lv != inRedis {
				return nil
			}
			return aside(redistest.NewClient(t, addr), "goredis:", load)
		},
	}
}

// autoPipeline is goRedis with the client's own auto-pipelining, which it calls experimental.
func autoPipeline[V any]() peer[V] {
	return peer[V]{
		name: "go-redis, auto-pipelined", module: goRedisModule, hits: true,
		how: "the same over `Client.AutoPipeline()`, which go-redis calls experimental; for hits alone",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			if lv != inRedis {
				return nil
			}
			pipeliner, err := redistest.NewClient(t, addr).AutoPipeline()
			noError(t, err)
			t.Cleanup(func() { _ = pipeliner.Close() }) // nothing is left to send
			return aside[V](pipeliner, "auto:", load)
		},
	}
}

func aside[V any](rdb redis.Cmdable, prefix string, load loader[V]) *cache[V] {
	return &cache[V]{
		get: func(ctx context.Context, a args) (v V, err error) {
			key := a.key(prefix)
			if data, err := rdb.Get(ctx, key).Bytes(); err == nil {
				return v, msgpack.Unmarshal(data, &v)
			}
			if v, err = load(ctx, a); err != nil {
				return v, err
			}
			data, err := msgpack.Marshal(&v)
			if err == nil {
				rdb.Set(ctx, key, data, ttl) // the caller has its value, whatever becomes of this
			}
			return v, err
		},
		getMany: func(ctx context.Context, as []args) ([]V, error) {
			keys := make([]string, len(as))
			for i, a := range as {
				keys[i] = a.key(prefix)
			}
			found, err := rdb.MGet(ctx, keys...).Result()
			if err != nil {
				return nil, err
			}
			values := make([]V, len(as))
			for i, data := range found {
				if data == nil {
					return nil, errMiss
				}
				if err := msgpack.Unmarshal([]byte(data.(string)), &values[i]); err != nil {
					return nil, err
				}
			}
			return values, nil
		},
		reset: func(ctx context.Context, a args) error { return rdb.Del(ctx, a.key(prefix)).Err() },
	}
}
