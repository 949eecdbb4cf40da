package cachify

import "testing"

// A reset of tags may become known after one with a later stamp, as those of this process do at once.
func TestResetsOfTagsOutOfOrder(t *testing.T) {
	f := new(nearFeed)
	e := &nearEntry{stamp: 5, tags: []string{"tag"}}
	for _, step := range []struct {
		stamp int64
		tag   string
		fresh bool
	}{{4, "tag", true}, {9, "other", true}, {5, "tag", true}, {7, "other", true}, {8, "tag", false}, {10, "other", false}} {
		f.advanced(step.stamp, []string{step.tag})
		for range 2 {
			if f.fresh(e) != step.fresh {
				t.Errorf("fresh after the reset of %q at %d: %t", step.tag, step.stamp, !step.fresh)
			}
		}
	}
}
