package faulttest

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

// TestMeddling deletes keys, scripts and connections behind cachify's back in the middle of traffic.
func TestMeddling(t *testing.T) {
	for _, test := range []struct {
		name    string
		command func() []any
	}{
		{"DEL", func() []any { return []any{"DEL", fmt.Sprint("fault:cached:row-", rand.IntN(rows))} }},
		{"DEL of the stamp", func() []any { return []any{"DEL", "fault:tag:{fault:tag}"} }},
		{"SET to rubbish", func() []any { return []any{"SET", fmt.Sprint("fault:cached:row-", rand.IntN(rows)), "rubbish"} }},
		{"another type", func() []any {
			return []any{"EVAL", "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 1)", 1, fmt.Sprint("fault:cached:row-", rand.IntN(rows))}
		}},
		{"FLUSHALL", func() []any { return []any{"FLUSHALL"} }},
		{"SCRIPT FLUSH", func() []any { return []any{"SCRIPT", "FLUSH"} }},
		{"CLIENT KILL TYPE pubsub", func() []any { return []any{"CLIENT", "KILL", "TYPE", "pubsub"} }},
		{"CLIENT KILL TYPE normal", func() []any { return []any{"CLIENT", "KILL", "TYPE", "normal"} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			timely(t, func(t *testing.T, w *stopwatch) {
				server := redistest.Start(t)
				operator := server.Client(t)
				tr := startTraffic(t, w, server.Client(t), server.Client(t))
				tr.extra = freeing
				tr.enter(fault)
				const times = 25
				for range times {
					noError(t, operator.Do(t.Context(), test.command()...).Err())
					time.Sleep(20 * time.Millisecond)
				}
				tr.enter(after)
				hits := eventually(t, resumed, "hits", tr.hit())
				tr.finish()
				t.Logf("%s %d times; hits %v later", test.name, times, hits)
			})
		})
	}
}
