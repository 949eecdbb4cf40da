//go:build unix

package peers

import (
	"context"
	"testing"

	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"
)

// rawRueidis is goRedis with rueidis, which pipelines by itself, and which has a near cache of the replies.
func rawRueidis[V any]() peer[V] {
	return peer[V]{
		name: "rueidis", module: "github.com/redis/rueidis",
		how: "the client as it is: GET, decode; else run the function and SET. MGET for many. Near: `DoCache`, decoded per hit",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			if lv == nearShared {
				return nil
			}
			c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
			noError(t, err)
			t.Cleanup(c.Close)
			return rueidisCache(c, lv, load)
		},
	}
}

func rueidisCache[V any](c rueidis.Client, lv level, load loader[V]) *cache[V] {
	const prefix = "rueidis:"
	find := func(ctx context.Context, key string) ([]byte, error) {
		if lv == inRedis {
			return c.Do(ctx, c.B().Get().Key(key).Build()).AsBytes()
		}
		return c.DoCache(ctx, c.B().Get().Key(key).Cache(), ttl).AsBytes()
	}
	return &cache[V]{
		get: func(ctx context.Context, a args) (v V, err error) {
			key := a.key(prefix)
			if data, err := find(ctx, key); err == nil {
				return v, msgpack.Unmarshal(data, &v)
			}
			if v, err = load(ctx, a); err != nil {
				return v, err
			}
			data, err := msgpack.Marshal(&v)
			if err == nil {
				c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(data)).Px(ttl).Build()) // as in goRedis
			}
			return v, err
		},
		getMany: func(ctx context.Context, as []args) ([]V, error) {
			keys := make([]string, len(as))
			for i, a := range as {
				keys[i] = a.key(prefix)
			}
			found, err := c.Do(ctx, c.B().Mget().Key(keys...).Build()).ToArray()
			if err != nil {
				return nil, err
			}
			values := make([]V, len(as))
			for i := range found {
				data, err := found[i].AsBytes()
				if err != nil {
					return nil, err
				}
				if err := msgpack.Unmarshal(data, &values[i]); err != nil {
					return nil, err
				}
			}
			return values, nil
		},
		reset: func(ctx context.Context, a args) error {
			return c.Do(ctx, c.B().Del().Key(a.key(prefix)).Build()).Error()
		},
	}
}
