// Package benchmarks measures what cachify costs beside what it is built on, in one run on one server. run.sh prints the
// medians of several rounds.
package benchmarks

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

type readUser struct {
	Tenant string
	UserID int64
}

// A user takes 200 bytes in MessagePack.
type user struct {
	ID        int64
	Tenant    string
	Name      string
	Email     string
	Roles     []string
	Active    bool
	Balance   float64
	CreatedAt time.Time
	UpdatedAt time.Time
}

var ann = user{
	ID: 1234567, Tenant: "acme", Name: "Ann Example of Exampleton", Email: "ann.example@mail.example.com",
	Roles: []string{"reader", "writer", "administrator", "auditor"}, Active: true, Balance: 1234.56,
	CreatedAt: time.Unix(1_700_000_000, 123_456_789).UTC(), UpdatedAt: time.Unix(1_760_000_000, 987_654_321).UTC(),
}

var args = readUser{"acme", 1234567}

// hits are three ways to the same user.
type hits struct {
	raw    func(context.Context) (user, error) // go-redis' GET and msgpack
	redis  *cachify.Cached[readUser, user]
	memory *cachify.Cached[readUser, user]
}

func newHits(b *testing.B) hits {
	rdb := redistest.Start(b).Client(b)
	return hits{raw: rawHit(b, rdb), redis: newCached(b, cachify.Redis(rdb)), memory: newCached(b, cachify.Memory())}
}

func rawHit(b *testing.B, rdb *redis.Client) func(context.Context) (user, error) {
	const key = "app:raw:user-acme-1234567"
	data, err := msgpack.Marshal(&ann)
	if err != nil {
		b.Fatal(err)
	}
	if err := rdb.Set(b.Context(), key, data, time.Hour).Err(); err != nil {
		b.Fatal(err)
	}
	return func(ctx context.Context) (u user, err error) {
		data, err := rdb.Get(ctx, key).Bytes()
		if err == nil {
			err = msgpack.Unmarshal(data, &u)
		}
		return u, err
	}
}

// newCached gives a wrapper whose function must not run any more.
func newCached(b *testing.B, store cachify.Store) *cachify.Cached[readUser, user] {
	// A busy machine may let an operation take longer than the default timeout, which would make a miss of a hit.
	c := cachify.New(store, &cachify.Options{Prefix: "app:", TTL: time.Hour, OpTimeout: time.Minute})
	b.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.Error(err)
		}
	})
	cached := cachify.Must(cachify.NewCached(c, "user-<tenant>-<user_id>", func(context.Context, readUser) (user, error) {
		b.Error("a miss")
		return ann, nil
	}, nil))
	if err := cached.Put(b.Context(), args, ann); err != nil {
		b.Fatal(err)
	}
	return cached
}

func (h hits) rawGet(b *testing.B)    { check(b)(h.raw(b.Context())) }
func (h hits) redisGet(b *testing.B)  { check(b)(h.redis.Get(b.Context(), args)) }
func (h hits) memoryGet(b *testing.B) { check(b)(h.memory.Get(b.Context(), args)) }

func check(b *testing.B) func(user, error) {
	return func(u user, err error) {
		if err != nil || u.ID != ann.ID || u.Email != ann.Email {
			b.Error(u, err)
		}
	}
}

// BenchmarkHit gives the allocations of a hit and its cost with many goroutines. For the ratio see BenchmarkHitRatio.
func BenchmarkHit(b *testing.B) {
	h := newHits(b)
	for _, way := range []struct {
		name string
		get  func(*testing.B)
	}{{"raw", h.rawGet}, {"cachify", h.redisGet}, {"memory", h.memoryGet}} {
		b.Run(way.name+"/goroutines=1", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				way.get(b)
			}
		})
		b.Run(way.name+"/goroutines=64", func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32) // times GOMAXPROCS, 2 on the machine of the published figures
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					way.get(b)
				}
			})
		})
	}
}

// BenchmarkHitRatio compares a hit to raw at one goroutine. Short rounds take turns, and the ratio is the median of those of
// neighbours, so that both meet the same noise.
func BenchmarkHitRatio(b *testing.B) {
	h := newHits(b)
	compare(b, "raw", func() { h.rawGet(b) }, "cachify", func() { h.redisGet(b) }, 20, 1)
}

// compare reports the median times of two functions and the ratio of the second to the first. A round times calls of each of them,
// and takes the median; each call runs the function n times, which are many where it is shorter than the clock can tell.
func compare(b *testing.B, name1 string, f1 func(), name2 string, f2 func(), calls, n int) {
	var times1, times2, ratios []float64
	for b.Loop() {
		t1, t2 := timed(calls, n, f1), timed(calls, n, f2)
		times1, times2, ratios = append(times1, t1), append(times2, t2), append(ratios, t2/t1)
	}
	b.ReportMetric(0, "ns/op") // of a round, which says nothing
	b.ReportMetric(median(times1), name1+"-ns")
	b.ReportMetric(median(times2), name2+"-ns")
	b.ReportMetric(median(ratios), "ratio")
}

// timed gives the median time of f in nanoseconds.
func timed(calls, n int, f func()) float64 {
	times := make([]float64, calls)
	for i := range times {
		start := time.Now()
		for range n {
			f()
		}
		times[i] = float64(time.Since(start)) / float64(n)
	}
	return median(times)
}

func median(d []float64) float64 {
	slices.Sort(d)
	return d[len(d)/2]
}
