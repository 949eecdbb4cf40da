//go:build unix

package peers

import (
	"io"
	"log/slog"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	cachifyName = "cachify"
	template    = "user-<tenant>-<user_id>"
)

func ours[V any]() peer[V] {
	return peer[V]{
		name: cachifyName, module: "github.com/go-cachify/cachify",
		how: "`NewCached` with default options, `Get`, `GetMany`, `Reset`. Near: `NearOptions`, with `Shared` where the value is shared",
		open: func(t testing.TB, addr string, lv level, load loader[V]) *cache[V] {
			c := cachify.New(cachify.Redis(redistest.NewClient(t, addr)), &cachify.Options{
				Prefix: "cachify:", Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), // of the outages that the works make
			})
			t.Cleanup(func() { _ = c.Close() }) // a work may have ended the server before resets were done
			o := &cachify.CachedOptions{TTL: ttl}
			if lv != inRedis {
				o.Near = &cachify.NearOptions{Size: size, TTL: ttl, Shared: lv == nearShared}
			}
			f := cachify.Must(cachify.NewCached(c, template, cachify.Func[args, V](load), o))
			return &cache[V]{get: f.Get, getMany: f.GetMany, reset: f.Reset}
		},
	}
}
