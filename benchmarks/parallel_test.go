package benchmarks

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	parallelKeys = 1000                   // that callers ask for in turn
	roundTime    = 100 * time.Millisecond // of each way, in turn
)

// A hitWay is one way to the users that are stored in Redis, each under a key of its own.
type hitWay struct {
	name string
	get  func(ctx context.Context, i int) (user, error)
}

// BenchmarkParallelHit compares the throughput of hits in Redis by many goroutines: go-redis' GET and msgpack with its
// default pool, rueidis' GET and msgpack, and cachify with and without pipelining. Short rounds take turns. Of each way
// it gives the median in hits per second, and that of its ratios to go-redis in the same round.
func BenchmarkParallelHit(b *testing.B) {
	for _, size := range []struct {
		name string
		more int // bytes beside ann's 200
	}{{"200B", 0}, {"10KB", 9800}} {
		ways := newHitWays(b, size.more)
		for _, goroutines := range []int{1, 64, 256} {
			b.Run(fmt.Sprintf("%s/goroutines=%d", size.name, goroutines), func(b *testing.B) {
				rates, ratios := make([][]float64, len(ways)), make([][]float64, len(ways))
				for b.Loop() {
					var raw float64
					for i, way := range ways {
						rate := hitRate(b, way, goroutines)
						if i == 0 {
							raw = rate
						}
						rates[i], ratios[i] = append(rates[i], rate), append(ratios[i], rate/raw)
					}
				}
				b.ReportMetric(0, "ns/op") // of a round, which says nothing
				for i, way := range ways {
					b.ReportMetric(median(rates[i]), way.name+"/s")
					if i > 0 {
						b.ReportMetric(median(ratios[i]), way.name+"-ratio")
					}
				}
			})
		}
	}
}

// hitRate gives how many hits some goroutines had in a second.
func hitRate(b *testing.B, way hitWay, goroutines int) float64 {
	hits := make([]int, goroutines)
	start := time.Now()
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			ctx, cancel := context.WithCancel(context.Background()) // as a request has
			defer cancel()
			for i := g; time.Since(start) < roundTime; i += goroutines + 1 {
				k := i % parallelKeys
				if u, err := way.get(ctx, k); err != nil || u.ID != int64(k) {
					b.Error(way.name, k, u, err)
					return
				}
				hits[g]++
			}
		})
	}
	group.Wait()
	took := time.Since(start)
	total := 0
	for _, n := range hits {
		total += n
	}
	return float64(total) / took.Seconds()
}

func newHitWays(b *testing.B, more int) []hitWay {
	server := redistest.Start(b)
	rdb := server.Client(b)
	users := make([]user, parallelKeys)
	for i := range users {
		users[i] = ann
		users[i].ID = int64(i)
		users[i].Name += strings.Repeat("x", more)
		data, err := msgpack.Marshal(&users[i])
		if err != nil {
			b.Fatal(err)
		}
		if err := rdb.Set(b.Context(), rawKey(i), data, time.Hour).Err(); err != nil {
			b.Fatal(err)
		}
	}
	return []hitWay{
		{"raw", rawGets(rdb)},
		{"rueidis", rueidisGets(b, server.Addr())},
		{"cachify", cachedGets(b, server.Client(b), users, &cachify.Options{})},
		{"plain", cachedGets(b, server.Client(b), users, &cachify.Options{NoPipeline: true})},
	}
}

func rawKey(i int) string { return fmt.Sprint("app:raw:user-acme-", i) }

func rawGets(rdb *redis.Client) func(context.Context, int) (user, error) {
	return func(ctx context.Context, i int) (u user, err error) {
		data, err := rdb.Get(ctx, rawKey(i)).Bytes()
		if err == nil {
			err = msgpack.Unmarshal(data, &u)
		}
		return u, err
	}
}

func rueidisGets(b *testing.B, addr string) func(context.Context, int) (user, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(client.Close)
	return func(ctx context.Context, i int) (u user, err error) {
		data, err := client.Do(ctx, client.B().Get().Key(rawKey(i)).Build()).AsBytes()
		if err == nil {
			err = msgpack.Unmarshal(data, &u)
		}
		return u, err
	}
}

func cachedGets(b *testing.B, rdb *redis.Client, users []user, opts *cachify.Options) func(context.Context, int) (user, error) {
	opts.Prefix, opts.TTL, opts.OpTimeout = "app:", time.Hour, time.Minute // see newCached
	if opts.NoPipeline {
		opts.Prefix = "plain:"
	}
	c := cachify.New(cachify.Redis(rdb), opts)
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	cached := cachify.Must(cachify.NewCached(c, "user-<tenant>-<user_id>", func(_ context.Context, args readUser) (user, error) {
		b.Error("a miss")
		return users[args.UserID], nil
	}, nil))
	for i, u := range users {
		if err := cached.Put(b.Context(), readUser{"acme", int64(i)}, u); err != nil {
			b.Fatal(err)
		}
	}
	return func(ctx context.Context, i int) (user, error) { return cached.Get(ctx, readUser{"acme", int64(i)}) }
}
