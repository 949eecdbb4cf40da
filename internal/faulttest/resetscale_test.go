package faulttest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// scaleEnv is how many entries the last of TestResetScale's servers holds; scripts/reset-scale.sh sets it.
const scaleEnv = "CACHIFY_RESET_SCALE"

const (
	scaleSample = 1000 // entries that are looked at before and after a reset
	scaleResets = 1000 // resets that are timed
	scalePipe   = 1000 // entries that are written at a time
)

var errMissing = errors.New("not in the store")

// TestResetScale fills a server with entries, and measures how long it takes to reset all of them by ResetAll and by ResetTags. Without
// scaleEnv it does so for a thousand, and holds every reset to having reset everything.
func TestResetScale(t *testing.T) {
	sizes := []int{1000}
	if env := os.Getenv(scaleEnv); env != "" {
		most, err := strconv.Atoi(env)
		noError(t, err)
		sizes = []int{1000, 100_000, 1_000_000, most}
		slices.Sort(sizes)
		sizes = slices.Compact(sizes[:slices.Index(sizes, most)+1])
	}
	server := redistest.Start(t)
	rdb := redistest.NewClient(t, server.Addr())
	s := &scale{t: t, rdb: rdb, client: newClient(t, rdb)}
	s.cached = cachify.Must(cachify.NewCached(s.client, "user-<n>", func(context.Context, int) (string, error) { return "", errMissing },
		&cachify.CachedOptions{TTL: time.Hour, Tags: []string{"users"}}))
	fmt.Println("   entries   memory  fill      reset         first       p50       p99       max  PING p50")
	for _, n := range sizes {
		s.measure(n, "ResetAll", func(ctx context.Context) error { return s.cached.ResetAll(ctx) })
		s.measure(n, "ResetTags", func(ctx context.Context) error { return s.client.ResetTags(ctx, "users") })
	}
}

type scale struct {
	t      testing.TB
	rdb    *redis.Client
	client *cachify.Client
	cached *cachify.Cached[int, string]
}

// measure writes n entries anew and resets them.
func (s *scale) measure(n int, name string, reset func(context.Context) error) {
	ctx := s.t.Context()
	began := time.Now()
	s.fill(n)
	filled := time.Since(began)
	if hits := s.hits(n); hits != scaleSample {
		s.t.Fatalf("%d of %d entries are there before %s", hits, scaleSample, name)
	}
	ping := s.timed(func() error { return s.rdb.Ping(ctx).Err() })
	began = time.Now()
	noError(s.t, reset(ctx))
	first := time.Since(began)
	if hits := s.hits(n); hits != 0 {
		s.t.Errorf("%d of %d entries are there after %s", hits, scaleSample, name)
	}
	took := s.timed(func() error { return reset(ctx) })
	fmt.Printf("%10d  %5d MB  %4.1fs  %-9s %9s %9s %9s %9s %9s\n", n, s.memory()>>20, filled.Seconds(), name, micros(first),
		micros(took[len(took)/2]), micros(took[len(took)*99/100]), micros(took[len(took)-1]), micros(ping[len(ping)/2]))
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }

// timed gives how long each of many calls took, the shortest first.
func (s *scale) timed(call func() error) []time.Duration {
	took := make([]time.Duration, scaleResets)
	for i := range took {
		began := time.Now()
		noError(s.t, call())
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took
}

// hits gives how many of a sample of entries are found.
func (s *scale) hits(n int) (hits int) {
	for range scaleSample {
		v, err := s.cached.Get(s.t.Context(), rand.IntN(n))
		switch {
		case err == nil && v == "a user":
			hits++
		case !errors.Is(err, errMissing):
			s.t.Fatal(v, err)
		}
	}
	return hits
}

// fill writes n entries: copies of one that Put has made, each under its own key and with an id of its own. docs/wire-format.md has the
// offsets.
func (s *scale) fill(n int) {
	ctx := s.t.Context()
	noError(s.t, s.cached.Put(ctx, 0, "a user"))
	key, err := s.cached.Key(0)
	noError(s.t, err)
	entry, err := s.rdb.Get(ctx, key).Bytes()
	noError(s.t, err)
	prefix := strings.TrimSuffix(key, "0")
	if last, err := s.cached.Key(n - 1); err != nil || last != prefix+strconv.Itoa(n-1) {
		s.t.Fatal(last, err)
	}
	var group errgroup.Group
	group.SetLimit(4)
	for from := 0; from < n; from += scalePipe {
		group.Go(func() error {
			pipe := s.rdb.Pipeline()
			for i := from; i < min(from+scalePipe, n); i++ {
				e := slices.Clone(entry)
				binary.BigEndian.PutUint64(e[4:], rand.Uint64())
				binary.BigEndian.PutUint64(e[12:], rand.Uint64())
				table := crc32.MakeTable(crc32.Castagnoli)
				binary.BigEndian.PutUint32(e[68:], crc32.Update(crc32.Checksum(e[:68], table), table, e[72:]))
				pipe.Do(ctx, "SET", prefix+strconv.Itoa(i), e, "PX", time.Hour.Milliseconds())
			}
			_, err := pipe.Exec(ctx)
			return err
		})
	}
	noError(s.t, group.Wait())
	size, err := s.rdb.DBSize(ctx).Result()
	noError(s.t, err)
	if size < int64(n) {
		s.t.Fatalf("the server has %d keys, want %d", size, n)
	}
}

// memory is what the server uses, in bytes.
func (s *scale) memory() (n int64) {
	info, err := s.rdb.InfoMap(s.t.Context(), "memory").Result()
	noError(s.t, err)
	n, err = strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
	noError(s.t, err)
	return n
}
