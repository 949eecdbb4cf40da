package cachify

import (
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// msgpack/v5 writes a time as a timestamp and reads it in the local zone. So for a type that has times in it the zones
// follow the value, one for each time, in the order of a walk through the value: nil is UTC, true is the zone before,
// and any other is three values: the location's name (Europe/Berlin, Local, or none for a fixed zone), the
// abbreviation (CET) and the offset in seconds east of UTC. The walk takes the elements of a map in any order and
// writes each key before its zones.

var timeType = reflect.TypeFor[time.Time]()

type zone struct {
	name, abbreviation string
	offset             int
}

type zoneWriter struct {
	enc  *msgpack.Encoder
	last zone
}

func (w *zoneWriter) walk(v reflect.Value) error {
	t := v.Type()
	if t == timeType {
		if v.CanAddr() {
			return w.write(*v.Addr().Interface().(*time.Time)) // without a copy on the heap
		}
		return w.write(v.Interface().(time.Time))
	}
	if t.Kind() != reflect.Map {
		return eachZoned(v, w.walk)
	}
	key, elem := shapeOf(t.Key()).zoned, shapeOf(t.Elem()).zoned
	for it := v.MapRange(); it.Next(); {
		if err := w.enc.EncodeValue(it.Key()); err != nil {
			return err
		}
		if key {
			if err := w.walk(it.Key()); err != nil {
				return err
			}
		}
		if elem {
			if err := w.walk(it.Value()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *zoneWriter) write(t time.Time) error {
	if t.Location() == time.UTC {
		return w.enc.EncodeNil()
	}
	z := zone{name: t.Location().String()}
	z.abbreviation, z.offset = t.Zone()
	// A fixed zone's location is called like the zone. So are few that are loaded, EST or CET.
	if z.name == z.abbreviation && reflect.DeepEqual(t.Location(), time.FixedZone(z.name, z.offset)) {
		z.name = ""
	}
	if z == w.last {
		return w.enc.EncodeBool(true)
	}
	w.last = z
	if err := w.enc.EncodeString(z.name); err != nil {
		return err
	}
	if err := w.enc.EncodeString(z.abbreviation); err != nil {
		return err
	}
	return w.enc.EncodeInt(int64(z.offset))
}

type zoneReader struct {
	dec  *msgpack.Decoder
	last zone
}

func (r *zoneReader) walk(v reflect.Value) error {
	t := v.Type()
	if t == timeType {
		return r.read(v.Addr().Interface().(*time.Time))
	}
	if t.Kind() != reflect.Map {
		return eachZoned(v, r.walk)
	}
	n := v.Len()
	for range n {
		if err := r.element(v); err != nil {
			return err
		}
	}
	if v.Len() != n {
		return errors.New("keys of a map are the same time in several zones")
	}
	return nil
}

// element mends the zones in one element of a map, and in its key: the key that was read leads to it.
func (r *zoneReader) element(m reflect.Value) error {
	t := m.Type()
	key, elem := reflect.New(t.Key()).Elem(), reflect.New(t.Elem()).Elem()
	if err := r.dec.DecodeValue(key); err != nil {
		return err
	}
	old := m.MapIndex(key)
	if !old.IsValid() {
		return errors.New("the zones of an element of a map that is not there")
	}
	elem.Set(old)
	if shapeOf(t.Key()).zoned {
		m.SetMapIndex(key, reflect.Value{})
		if err := r.walk(key); err != nil {
			return err
		}
	}
	if shapeOf(t.Elem()).zoned {
		if err := r.walk(elem); err != nil {
			return err
		}
	}
	m.SetMapIndex(key, elem)
	return nil
}

func (r *zoneReader) read(t *time.Time) error {
	v, err := r.dec.DecodeInterface()
	if err != nil {
		return err
	}
	switch v := v.(type) {
	case nil:
		*t = t.UTC()
		return nil
	case bool: // the zone before
	case string:
		r.last.name = v
		if r.last.abbreviation, err = r.dec.DecodeString(); err != nil {
			return err
		}
		if r.last.offset, err = r.dec.DecodeInt(); err != nil {
			return err
		}
	default:
		return errors.New("damaged zones")
	}
	*t = t.In(r.last.at(*t))
	return nil
}

// at gives the location called z.name if its offset at t is that of z, or else a fixed zone. Machines differ in
// what is local to them and in the zones they know.
func (z zone) at(t time.Time) *time.Location {
	if loc := locationNamed(z.name); loc != nil {
		if _, offset := t.In(loc).Zone(); offset == z.offset {
			return loc
		}
	}
	return time.FixedZone(z.abbreviation, z.offset)
}

// locations keeps what [time.LoadLocation] found, which reads files: *time.Location, nil for an unknown name. Damaged
// data could name any number of them, hence the bounds.
var locations = struct {
	sync.RWMutex
	m map[string]*time.Location
}{m: map[string]*time.Location{}}

const (
	maxLocations    = 1000
	maxLocationName = 255
)

func locationNamed(name string) *time.Location {
	if name == "" || len(name) > maxLocationName { // a fixed zone, or nonsense
		return nil
	}
	if name == "Local" {
		return time.Local
	}
	locations.RLock()
	loc, ok := locations.m[name]
	locations.RUnlock()
	if ok {
		return loc
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		loc = nil
	}
	locations.Lock()
	defer locations.Unlock()
	if len(locations.m) < maxLocations {
		locations.m[name] = loc
	}
	return loc
}
