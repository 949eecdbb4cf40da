package redisstore

import (
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestViewIsGet(t *testing.T) {
	onEach(t, func(t *testing.T, rdb *redis.Client) {
		s, ctx := New(rdb), within(t, 30*time.Second)
		keys, tags := []string{"a", "empty", "absent"}, []string{"stamps", "tag", "no tag"}
		_, _, err := s.Set(ctx, nil, keys[:2], [][]byte{[]byte("value"), {}}, []time.Duration{time.Minute, time.Minute}, tags[:2])
		noError(t, err)
		for n := range tags {
			want, wantStamps, err := s.Get(ctx, keys[:n+1], tags[:n], nil)
			noError(t, err)
			got, stamps, err := s.View(ctx, keys[:n+1], tags[:n])
			noError(t, err)
			for i := range got {
				if string(got[i]) != string(want[i]) || (got[i] == nil) != (want[i] == nil) {
					t.Errorf("%s: %q, by Get %q", keys[i], got[i], want[i])
				}
			}
			for i := range tags[:n] {
				if stamps[i] != wantStamps[i] {
					t.Errorf("%s: %d, by Get %d", tags[i], stamps[i], wantStamps[i])
				}
			}
		}
	})
}
