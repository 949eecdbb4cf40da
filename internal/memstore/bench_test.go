package memstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/claim"
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
			if values, _, err := s.Get(b.Context(), keys[n:n+1], tags, nil); err != nil || values[0] == nil {
				b.Error("no hit")
			}
		}
	})
}

func BenchmarkGetOneKey(b *testing.B) {
	s, keys, tags := filled(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if values, _, err := s.Get(b.Context(), keys[:1], tags, nil); err != nil || values[0] == nil {
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
			if values, _, err := s.Lease(b.Context(), lease, time.Minute, keys[n:n+1], tags, nil); err != nil || values[0] == nil {
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

// BenchmarkLock takes a lock with a fencing token and gives it back.
func BenchmarkLock(b *testing.B) {
	s := New(small)
	b.ReportAllocs()
	for b.Loop() {
		c := claim.Claim{Keys: []string{"key"}, Token: "a token of some length", TTL: time.Minute, Fences: []string{"fence"}}
		if _, ok, err := s.Lock(b.Context(), c, ""); err != nil || !ok {
			b.Fatalf("Lock gave %t, %v", ok, err)
		}
		if ok, err := s.Unlock(b.Context(), c); err != nil || !ok {
			b.Fatalf("Unlock gave %t, %v", ok, err)
		}
	}
}

// BenchmarkSlot takes one of many slots and gives it back.
func BenchmarkSlot(b *testing.B) {
	s := New(small)
	c := claim.Claim{Keys: []string{"key"}, TTL: time.Minute, Slots: 1000}
	for i := range 900 {
		c.Token = fmt.Sprint("token ", i)
		if _, ok, err := s.Lock(b.Context(), c, ""); err != nil || !ok {
			b.Fatalf("Lock gave %t, %v", ok, err)
		}
	}
	c.Token = "another token"
	b.ReportAllocs()
	for b.Loop() {
		if _, ok, err := s.Lock(b.Context(), c, ""); err != nil || !ok {
			b.Fatalf("Lock gave %t, %v", ok, err)
		}
		if ok, err := s.Unlock(b.Context(), c); err != nil || !ok {
			b.Fatalf("Unlock gave %t, %v", ok, err)
		}
	}
}
