package redisstore

import (
	"slices"
	"strings"
	"testing"

	"github.com/bsm/redislock"
)

// TestRedislock holds redislock to what is sent to its scripts, should it be updated.
func TestRedislock(t *testing.T) {
	for _, test := range []struct {
		name string
		sent *recorder
		sha  string
		argv []any
		text string
	}{
		{"obtain", recorded(nil), obtainScript, []any{"token", 5, "3600000"}, "msetnx"},
		{"release", recorded((*redislock.Lock).Release), releaseScript, []any{"token"}, `"del"`},
	} {
		if !slices.Equal(test.sent.keys, []string{"key"}) || !slices.Equal(test.sent.argv, test.argv) {
			t.Errorf("%s has keys %q and arguments %v, want %v", test.name, test.sent.keys, test.sent.argv, test.argv)
		}
		if source := sources[test.sha]; !strings.Contains(source, test.text) || source != test.sent.source {
			t.Errorf("%s is not\n%s", test.name, source)
		}
	}
}
