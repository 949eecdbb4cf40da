package memstore

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestView(t *testing.T) {
	s := New(1 << 20)
	values := [][]byte{[]byte("value"), {}}
	if _, _, err := s.Set(t.Context(), nil, []string{"a", "empty"}, values, []time.Duration{time.Minute, time.Minute}, []string{"stamps", "tag"}); err != nil {
		t.Fatal(err)
	}
	keys, tags := []string{"a", "empty", "absent"}, []string{"stamps", "tag", "no tag"}
	got, stamps, err := s.Get(t.Context(), keys, tags, nil)
	if err != nil {
		t.Fatal(err)
	}
	seen, seenStamps, err := s.View(t.Context(), keys, tags)
	if err != nil {
		t.Fatal(err)
	}
	for i := range keys {
		if string(seen[i]) != string(got[i]) || (seen[i] == nil) != (got[i] == nil) || stamps[i] != seenStamps[i] {
			t.Errorf("%s: %q, %d, by Get %q, %d", keys[i], seen[i], seenStamps[i], got[i], stamps[i])
		}
	}

	// What was seen stays as it is when the key is written again.
	if _, _, err := s.Set(t.Context(), nil, keys[:1], [][]byte{[]byte("other")}, []time.Duration{time.Minute}, nil); err != nil || string(seen[0]) != "value" {
		t.Errorf("%q, %v", seen[0], err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.View(ended, keys, tags); !errors.Is(err, context.Canceled) {
		t.Errorf("with a ctx that has ended: %v", err)
	}
}
