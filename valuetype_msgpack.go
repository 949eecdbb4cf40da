package cachify

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A msgpackChecker looks in a type for what msgpack/v5 loses without an error, or writes but can't read.
type msgpackChecker struct{ seen map[typePlace]bool }

func (c msgpackChecker) check(t reflect.Type, path string, addressable bool) error {
	place := typePlace{t, addressable}
	if c.seen[place] || t == timeType {
		return nil
	}
	c.seen[place] = true
	if itself, err := marshalsItself(t, msgpackWays, path, addressable); itself || err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128, reflect.Uintptr:
		return errUncarried(path, t)
	case reflect.Interface:
		if t.NumMethod() > 0 && t != reflect.TypeFor[error]() {
			return errUncarried(path, t)
		}
	case reflect.Pointer:
		if err := pointerToNil(t, path); err != nil {
			return err
		}
		return c.check(t.Elem(), path, true)
	case reflect.Slice:
		return c.check(t.Elem(), path+"[]", true)
	case reflect.Array:
		if of := t.Elem(); of.Kind() == reflect.Uint8 && of != reflect.TypeFor[byte]() && !addressable {
			return fmt.Errorf("%s: msgpack can't encode %s in a map: use a string or [%d]byte", path, t, t.Len())
		}
		return c.check(t.Elem(), path+"[]", addressable)
	case reflect.Map:
		if err := c.check(t.Key(), path+"[key]", false); err != nil {
			return err
		}
		return c.check(t.Elem(), path+"[]", false)
	case reflect.Struct:
		_, err := c.names(t, path, addressable)
		return err
	}
	return nil
}

// names checks the fields of a struct and gives the names that msgpack/v5 has for them. An embedded struct's names are
// its own too: msgpack/v5 takes them out of it unless one is taken already.
func (c msgpackChecker) names(t reflect.Type, path string, addressable bool) (map[string]string, error) {
	names := map[string]string{}
	add := func(name, at string) error {
		if other, ok := names[name]; ok {
			return fmt.Errorf("%s and %s are both named %q in MessagePack, so one would be lost: change the tag of one of them, or tag the embedded struct `msgpack:\",noinline\"`", other, at, name)
		}
		names[name] = at
		return nil
	}
	for i := range t.NumField() {
		f, at := t.Field(i), path+"."+t.Field(i).Name
		name, options := msgpackTag(f)
		if name == "-" || leftOut(f) {
			continue
		}
		if why := unsettable(f); why != "" {
			return nil, fmt.Errorf("%s %s, so MsgPack would lose it: export it, or tag it `cachify:\"-\"` if it may be lost, or give %s the methods MarshalBinary and UnmarshalBinary", at, why, t)
		}
		if slices.Contains(options, "intern") {
			return nil, fmt.Errorf("%s: the option intern is not supported: see Compress", at)
		}
		inline := inlinable(f.Type)
		switch {
		case !inline && slices.Contains(options, "inline"):
			return nil, fmt.Errorf("%s has the option inline, but %s is no struct, or marshals itself", at, f.Type)
		case !inline && !f.IsExported():
			return nil, fmt.Errorf("%s: an embedded type that is not exported can't marshal itself: export it or give the field a name", at)
		}
		if f.Anonymous && inline && !slices.Contains(options, "noinline") {
			if f.Type.Kind() == reflect.Pointer {
				return nil, fmt.Errorf("%s is an embedded pointer, and nil would not come back as nil: tag it `msgpack:\",noinline\"`", at)
			}
			inner, err := c.names(f.Type, at, addressable)
			if err != nil {
				return nil, err
			}
			taken := overlap(names, inner)
			if !taken || slices.Contains(options, "inline") {
				for n, where := range inner {
					if err := add(n, where); err != nil {
						return nil, err
					}
				}
			}
		} else if err := c.check(f.Type, at, addressable); err != nil {
			return nil, err
		}
		if err := add(name, at); err != nil {
			return nil, err
		}
		for _, o := range options {
			if alias, ok := strings.CutPrefix(o, "alias:"); ok {
				if err := add(alias, at); err != nil {
					return nil, err
				}
			}
		}
	}
	return names, nil
}

// inlinable says whether msgpack/v5 takes the fields out of an embedded struct of type t.
func inlinable(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, marshals, unmarshals := waysOf(t, msgpackWays)
	return t.Kind() == reflect.Struct && t != timeType && marshals == len(msgpackWays) && unmarshals == len(msgpackWays)
}

// msgpackTag gives the name that a field has in MessagePack, and its options.
func msgpackTag(f reflect.StructField) (name string, options []string) {
	tag := f.Tag.Get("msgpack")
	if tag == "" {
		tag = f.Tag.Get(fallbackTag)
	}
	for i, o := range strings.Split(tag, ",") {
		if o = strings.TrimSpace(o); i == 0 && !strings.Contains(o, ":") {
			name = o
		} else {
			options = append(options, o)
		}
	}
	if name == "" {
		name = f.Name
	}
	return name, options
}

func overlap(a, b map[string]string) bool {
	for name := range b {
		if _, ok := a[name]; ok {
			return true
		}
	}
	return false
}
