package benchmarks

import (
	"context"
	"strconv"
	"testing"

	"github.com/go-cachify/cachify"
)

// byHand is what one would write for the template user-<tenant>-<user_id>, without its escaping.
//
//go:noinline
func byHand(prefix string, a readUser) string {
	b := make([]byte, 0, 64)
	b = append(b, prefix...)
	b = append(b, "user-"...)
	b = append(b, a.Tenant...)
	b = append(b, '-')
	b = strconv.AppendInt(b, a.UserID, 10)
	return string(b)
}

func newKey(b *testing.B) func(readUser) string {
	c := cachify.New(cachify.Memory(), &cachify.Options{Prefix: "app:"})
	b.Cleanup(func() { _ = c.Close() })
	cached := cachify.Must(cachify.NewCached(c, "user-<tenant>-<user_id>", func(context.Context, readUser) (user, error) { return ann, nil }, nil))
	key := func(a readUser) string {
		key, err := cached.Key(a)
		if err != nil {
			b.Fatal(err)
		}
		return key
	}
	if got, want := key(args), byHand("app:cached:", args); got != want {
		b.Fatalf("the keys differ: %q and %q", got, want)
	}
	return key
}

// BenchmarkKey gives the allocations of rendering a key with two fields.
func BenchmarkKey(b *testing.B) {
	key := newKey(b)
	b.Run("by hand", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			byHand("app:cached:", args)
		}
	})
	b.Run("template", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key(args)
		}
	})
}

// BenchmarkKeyRatio compares them as BenchmarkHitRatio does.
func BenchmarkKeyRatio(b *testing.B) {
	key := newKey(b)
	compare(b, "by-hand", func() { byHand("app:cached:", args) }, "template", func() { key(args) }, 5, 1000)
}
