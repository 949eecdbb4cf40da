package memstore

import (
	"fmt"
	"testing"
	"time"
)

// The hits of these benchmarks are reads of 256-byte values among 10,000, with the tags a client reads along.

func filled(b *testing.B) (s *Store, keys, tags []string) {
	s = New(256 << 20)
	tags = []string{"myapp:tag:", "myapp:tag:read_user"}
	advance(b, s, time.Hour, tags...)
	for i := range 10_000 {
		keys = append(keys, fmt.Sprint("myapp:cached:read_user-", i))
		put(b, s, keys[i], make([]byte, 256), time.Hour)
	}
	b.ReportAllocs()
	return s, keys, tags
}

func BenchmarkGet(b *testing.B) {
	s, keys, tags := filled(b)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n := i % len(keys)
			if values, _, err := s.Get(b.Context(), keys[n:n+1], tags); err != nil || values[0] == nil {
				b.Error("no hit")
			}
		}
	})
}

func BenchmarkGetOneKey(b *testing.B) {
	s, keys, tags := filled(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if values, _, err := s.Get(b.Context(), keys[:1], tags); err != nil || values[0] == nil {
				b.Error("no hit")
			}
		}
	})
}

func BenchmarkLeaseHit(b *testing.B) {
	s, keys, tags := filled(b)
	lease := []byte("0123456789abcdef")
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n := i % len(keys)
			if values, _, err := s.Lease(b.Context(), lease, time.Minute, keys[n:n+1], tags); err != nil || values[0] == nil {
				b.Error("no hit")
			}
		}
	})
}

func BenchmarkSet(b *testing.B) {
	s, keys, tags := filled(b)
	values, ttls := [][]byte{make([]byte, 256)}, []time.Duration{time.Hour}
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n := i % len(keys)
			if _, _, err := s.Set(b.Context(), nil, keys[n:n+1], values, ttls, tags); err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkSetEvicting writes to a store that is full: each write evicts a value.
func BenchmarkSetEvicting(b *testing.B) {
	s := New(small)
	values, ttls := [][]byte{make([]byte, 256)}, []time.Duration{time.Hour}
	keys := make([]string, 100_000)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			n := i % len(keys)
			if _, _, err := s.Set(b.Context(), nil, keys[n:n+1], values, ttls, nil); err != nil {
				b.Error(err)
			}
		}
	})
}
