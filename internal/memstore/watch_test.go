package memstore

import "testing"

func TestWatchLeavesNothing(t *testing.T) {
	s := New(small)
	_, stop1 := s.Watch("key")
	_, stop2 := s.Watch("key")
	stop1()
	stop1()
	if sh := s.shard("key"); len(sh.watchers["key"]) != 1 {
		t.Errorf("%d watchers are left, want 1", len(sh.watchers["key"]))
	}
	stop2()
	if sh := s.shard("key"); len(sh.watchers) != 0 {
		t.Errorf("%d watched keys are left, want none", len(sh.watchers))
	}
}
