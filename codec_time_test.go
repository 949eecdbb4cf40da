package cachify

import (
	"testing"
	"time"
)

func TestTimesKeepTheirZone(t *testing.T) {
	berlin := locationNamed("Europe/Berlin")
	times := []time.Time{
		{}, time.Unix(0, 0).UTC(), time.Unix(1<<32, 0).UTC(), time.Unix(1<<34, 1).UTC(), time.Unix(-1, 999_999_999).UTC(),
		time.Date(1, 1, 1, 0, 0, 0, 0, berlin), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, berlin),
		time.Date(-200_000, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(200_000, 1, 1, 0, 0, 0, 1, time.FixedZone("", -1)),
		time.Date(2026, 1, 2, 3, 4, 5, 6, berlin), time.Date(2026, 7, 2, 3, 4, 5, 6, berlin),
		time.Date(2026, 10, 25, 2, 30, 0, 0, berlin), // twice that night
		time.Date(2026, 7, 2, 3, 4, 5, 6, locationNamed("CET")), time.Date(2026, 1, 2, 3, 4, 5, 6, locationNamed("CET")),
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("CET", 3600)), time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 5*3600+1800)),
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("Europe/Berlin", 7)), time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("UTC", 0)),
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.Local), time.Now(),
	}
	type keyed struct {
		At time.Time
		N  int
	}
	type only struct{ time.Time }
	type all struct {
		At       time.Time
		Ptr      *time.Time
		Slice    []time.Time
		Array    [2]time.Time
		Map      map[string]time.Time
		Pointers map[int]*time.Time
		Keys     map[time.Time]string
		Structs  map[keyed][]keyed
		Next     *all
		Omitted  time.Time `msgpack:",omitempty"`
		Only     only
	}
	berlinSummer := times[10]
	for _, at := range times {
		at = at.Round(0) // without the reading of the monotonic clock
		if got := *roundTrip(t, MsgPack(), &at).(*time.Time); !sameTime(got, at) {
			t.Errorf("%v (%s) came back as %v (%s)", at, at.Location(), got, got.Location())
		} else if !sameTime(got.AddDate(0, 6, 0), at.AddDate(0, 6, 0)) {
			t.Errorf("%v (%s) came back in a zone that goes on otherwise", at, at.Location())
		} else if at.Location() == time.Local && got.Location() != time.Local {
			t.Errorf("a local time came back in %v", got.Location())
		}
		expectRoundTrip(t, MsgPack(), &all{
			At: at, Ptr: &at, Slice: []time.Time{at, berlinSummer, at, {}}, Array: [2]time.Time{at, at.UTC()},
			Map:      map[string]time.Time{"a": at, "b": berlinSummer},
			Pointers: map[int]*time.Time{1: nil, 2: &berlinSummer, 3: &at},
			Keys:     map[time.Time]string{at: "a", at.Add(1).In(berlin): "b"},
			Structs:  map[keyed][]keyed{{at, 1}: {{berlinSummer, 2}, {at, 3}}, {at, 2}: nil, {berlinSummer, 3}: {}},
			Next:     &all{Slice: []time.Time{}, Ptr: &at, Omitted: at.UTC()},
			Only:     only{at}, Omitted: at,
		})
	}
}

func TestZonesAreSmall(t *testing.T) {
	in := func(loc *time.Location) int {
		v := make([]time.Time, 1000)
		for i := range v {
			v[i] = time.Date(2026, 7, 1, 0, 0, i, 1, loc)
		}
		data, err := MsgPack().Append(nil, "", &v)
		if err != nil {
			t.Fatal(err)
		}
		return len(data)
	}
	if utc, berlin := in(time.UTC), in(locationNamed("Europe/Berlin")); utc > 11_100 || berlin > utc+100 {
		t.Errorf("1,000 times take %d bytes in UTC and %d in Berlin", utc, berlin)
	}
}

// Data that was written where the zone was known, or the local one, is read where it is not.
func TestTimeOfAnotherMachine(t *testing.T) {
	at := time.Date(2026, 7, 2, 3, 4, 5, 0, time.UTC)
	for _, z := range []zone{{"Mars/Olympus", "OLY", 7200}, {"Local", "XST", 12_345}, {"Europe/Berlin", "CEST", 4711}, {"../../etc/passwd", "X", 60}} {
		got := at.In(z.at(at))
		if name, offset := got.Zone(); !got.Equal(at) || name != z.abbreviation || offset != z.offset {
			t.Errorf("%v gives %v", z, got)
		}
	}
	if got := (zone{"Europe/Berlin", "CEST", 7200}).at(at); got.String() != "Europe/Berlin" {
		t.Errorf("Berlin in summer is %v", got)
	}
}

func TestOneInstantInTwoZonesAsKeys(t *testing.T) {
	at := time.Date(2026, 7, 2, 3, 4, 5, 0, time.UTC)
	v := map[time.Time]int{at: 1, at.In(locationNamed("Europe/Berlin")): 2}
	data, err := MsgPack().Append(nil, "", &v)
	if err != nil {
		t.Fatal(err)
	}
	var got map[time.Time]int
	if err := MsgPack().Decode(data, "", &got); err == nil {
		t.Errorf("%v came back as %v without an error", v, got)
	}
}

func TestLocationsAreBounded(t *testing.T) {
	for i := range 2 * maxLocations {
		locationNamed(string(rune('A'+i%26)) + time.Duration(i).String())
	}
	locations.RLock()
	defer locations.RUnlock()
	if n := len(locations.m); n > maxLocations {
		t.Errorf("%d locations are kept", n)
	}
}
