//go:build unix

package peers

import (
	"context"
	"io"
	"log/slog"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/viccon/sturdyc"

	"github.com/go-cachify/cachify/internal/redistest"
)

func sturdy[V any]() peer[V] {
	return peer[V]{
		name: "sturdyc", module: "github.com/viccon/sturdyc", usual: nearShared,
		how: "`GetOrFetch` over `WithDistributedStorage`, go-redis behind it, JSON, its only form; hits in memory share the value. " +
			"For hits in Redis its memory's TTL is a microsecond. `GetOrFetchBatch` for many. To reset, DEL and `Delete`",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			lifetime := ttl
			switch lv {
			case nearDecoded:
				return nil
			case inRedis:
				lifetime = time.Microsecond // it has no mode without memory
			}
			storage := &sturdycStorage{rdb: redistest.NewClient(t, addr)}
			c := sturdyc.New[V](size, 64, lifetime, 10, sturdyc.WithDistributedStorage(storage), sturdyc.WithNoContinuousEvictions(),
				sturdyc.WithLog(slog.New(slog.NewTextHandler(io.Discard, nil))))
			return sturdycCache(c, storage, load)
		},
	}
}

func sturdycCache[V any](c *sturdyc.Client[V], storage *sturdycStorage, load loader[V]) *cache[V] {
	const prefix = "sturdyc:"
	return &cache[V]{
		get: func(ctx context.Context, a args) (V, error) {
			return c.GetOrFetch(ctx, a.key(prefix), func(ctx context.Context) (V, error) {
				v, err := load(ctx, a)
				if err == nil {
					storage.pending.Add(1)
				}
				return v, err
			})
		},
		getMany: func(ctx context.Context, as []args) ([]V, error) {
			keys := make([]string, len(as))
			for i, a := range as {
				keys[i] = a.key(prefix)
			}
			found, err := c.GetOrFetchBatch(ctx, keys, func(id string) string { return id },
				func(context.Context, []string) (map[string]V, error) { return nil, errMiss })
			if err != nil {
				return nil, err
			}
			values := make([]V, len(as))
			for i, key := range keys {
				values[i] = found[key]
			}
			return values, nil
		},
		reset: func(ctx context.Context, a args) error {
			key := a.key(prefix)
			err := storage.rdb.Del(ctx, key).Err()
			c.Delete(key)
			return err
		},
		settle: func() {
			for storage.pending.Load() > 0 {
				runtime.Gosched()
			}
		},
	}
}

// sturdycStorage is what the library asks its users to write. Its methods have no errors to return.
type sturdycStorage struct {
	rdb     *redis.Client
	pending atomic.Int64 // values that have been loaded and that Set is yet to store
}

func (s *sturdycStorage) Get(ctx context.Context, key string) ([]byte, bool) {
	data, err := s.rdb.Get(ctx, key).Bytes()
	return data, err == nil
}

func (s *sturdycStorage) Set(ctx context.Context, key string, value []byte) {
	s.rdb.Set(ctx, key, value, ttl)
	s.pending.Add(-1)
}

func (s *sturdycStorage) GetBatch(ctx context.Context, keys []string) map[string][]byte {
	records := make(map[string][]byte, len(keys))
	found, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return records
	}
	for i, data := range found {
		if text, ok := data.(string); ok {
			records[keys[i]] = []byte(text)
		}
	}
	return records
}

func (s *sturdycStorage) SetBatch(ctx context.Context, records map[string][]byte) {
	pipe := s.rdb.Pipeline()
	for key, value := range records {
		pipe.Set(ctx, key, value, ttl)
	}
	_, _ = pipe.Exec(ctx) // a cache may fail to store
}
