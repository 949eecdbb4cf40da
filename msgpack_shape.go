package cachify

import (
	"reflect"
	"sync"
)

// A shape is what the codec has to know of a type beside what msgpack/v5 knows.
type shape struct {
	zoned      bool  // it has times in it
	unbounded  bool  // its values may be nested to any depth
	timeFields []int // the fields of a struct that have times in them
}

var shapes sync.Map // reflect.Type to *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape)
	}
	s := &shape{}
	s.look(t, map[reflect.Type]bool{})
	if t.Kind() == reflect.Struct && t != timeType && s.zoned {
		for _, i := range msgpackFields(t) {
			if shapeOf(t.Field(i).Type).zoned {
				s.timeFields = append(s.timeFields, i)
			}
		}
	}
	shapes.Store(t, s)
	return s
}

// look goes through a type. open has true for the types it is in, and false for those it has seen.
func (s *shape) look(t reflect.Type, open map[reflect.Type]bool) {
	if t == timeType {
		s.zoned = true
		return
	}
	if inside, seen := open[t]; seen || opaque(t) {
		s.unbounded = s.unbounded || inside
		return
	}
	open[t] = true
	switch t.Kind() {
	case reflect.Interface:
		s.unbounded = true
	case reflect.Pointer, reflect.Slice, reflect.Array:
		s.look(t.Elem(), open)
	case reflect.Map:
		s.look(t.Key(), open)
		s.look(t.Elem(), open)
	case reflect.Struct:
		for _, i := range msgpackFields(t) {
			s.look(t.Field(i).Type, open)
		}
	}
	open[t] = false
}

// opaque says whether a type marshals or unmarshals itself, so that nothing is known of what is inside. If that is an
// embedded field's doing, what is inside is that field.
func opaque(t reflect.Type) bool {
	_, marshals, unmarshals := waysOf(t, msgpackWays)
	if marshals == len(msgpackWays) {
		return unmarshals != len(msgpackWays)
	}
	return !promotes(t, msgpackWays[marshals])
}

// msgpackFields gives the indexes of the fields of a struct that are carried.
func msgpackFields(t reflect.Type) (fields []int) {
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _ := msgpackTag(f); name != "-" && unsettable(f) == "" {
			fields = append(fields, i)
		}
	}
	return fields
}

// eachZoned calls do for what is directly in v and has times in it. v is no map.
func eachZoned(v reflect.Value, do func(reflect.Value) error) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			return do(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if err := do(v.Index(i)); err != nil {
				return err
			}
		}
	case reflect.Struct:
		for _, i := range shapeOf(v.Type()).timeFields {
			if err := do(v.Field(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// tooDeep says whether v is nested deeper than maxDepth, as a cyclic value is.
func tooDeep(v reflect.Value, depth int) bool {
	if depth > maxDepth {
		return true
	}
	if !shapeOf(v.Type()).unbounded || opaque(v.Type()) {
		return false
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && tooDeep(v.Elem(), depth+1)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if tooDeep(v.Index(i), depth+1) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if tooDeep(it.Key(), depth+1) || tooDeep(it.Value(), depth+1) {
				return true
			}
		}
	case reflect.Struct:
		for _, i := range msgpackFields(v.Type()) {
			if tooDeep(v.Field(i), depth+1) {
				return true
			}
		}
	}
	return false
}
