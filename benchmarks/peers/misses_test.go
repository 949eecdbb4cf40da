//go:build unix

package peers

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// misses are calls for keys that are not there, one after the other. The function costs nothing.
func (b *bench) misses(t *testing.T) {
	t.Run("200 B", func(t *testing.T) { missesOf(t, b, "200 B", newSmall) })
	t.Run("10 KB", func(t *testing.T) { missesOf(t, b, "10 KB", newBig) })
}

func missesOf[V any](t *testing.T, b *bench, kase string, value func(int64) V) {
	b.server.Flush()
	var contenders []contender[V]
	v := value(1) // made once, so that it does not count
	for _, p := range peers[V]() {
		c := p.open(t, b.server.Addr(), p.usual, func(context.Context, args) (V, error) { return v, nil })
		if c != nil && !p.memory && !p.hits {
			contenders = append(contenders, contender[V]{name: p.name, cache: c})
		}
	}
	next := int64(0)
	rounds, slice := b.turns(1)
	for range rounds {
		for _, c := range contenders {
			b.run.Add("miss", kase, "ns", c.name, perCall(t, 1, slice, func(ctx context.Context, _ int) error {
				next++
				_, err := c.cache.get(ctx, user(next))
				return err
			}))
			c.settle()
			b.server.Flush()
		}
	}
	for _, c := range contenders {
		b.run.Add("miss", kase, "round trips", c.name, b.roundTrips(t, func() {
			next++
			_, err := c.cache.get(t.Context(), user(next))
			noError(t, err)
			c.settle()
		}))
	}
}

func (c *contender[V]) settle() {
	if c.cache.settle != nil {
		c.cache.settle()
	}
}

// roundTrips counts how often the server had something to read for a call: commands that travel together count once. Calls that take
// turns can't share a read.
func (b *bench) roundTrips(t *testing.T, call func()) float64 {
	const calls = 20
	rdb := b.server.Client(t)
	reads := func() int {
		info, err := rdb.InfoMap(t.Context(), "stats").Result()
		noError(t, err)
		n, err := strconv.Atoi(info["Stats"]["total_reads_processed"])
		noError(t, err)
		return n
	}
	for range 3 {
		call() // connections are made
	}
	time.Sleep(20 * time.Millisecond) // what new connections say about themselves has been read
	before := reads()
	for range calls {
		call()
	}
	return float64(reads()-before-1) / calls // the second look counts itself
}
