package cachify

import (
	"fmt"
	"reflect"
	"strings"
)

// A jsonChecker looks in a type for what encoding/json loses without an error, or writes but can't read.
type jsonChecker struct{ seen map[typePlace]bool }

func (c jsonChecker) check(t reflect.Type, path string, addressable bool) error {
	place := typePlace{t, addressable}
	if c.seen[place] {
		return nil
	}
	c.seen[place] = true
	if itself, err := marshalsItself(t, jsonWays, path, addressable); itself || err != nil {
		return err
	}
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.UnsafePointer, reflect.Complex64, reflect.Complex128:
		return errUncarried(path, t)
	case reflect.Interface:
		if t.NumMethod() > 0 {
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
		return c.check(t.Elem(), path+"[]", addressable)
	case reflect.Map:
		if err := jsonMapKey(t.Key(), path); err != nil {
			return err
		}
		return c.check(t.Elem(), path+"[]", false)
	case reflect.Struct:
		return c.fields(t, path, addressable, map[string]string{}, map[reflect.Type]bool{})
	}
	return nil
}

// fields checks the fields of a struct and of those embedded in it. names has the field that each name was first met at,
// parents the structs that this one is embedded in.
func (c jsonChecker) fields(t reflect.Type, path string, addressable bool, names map[string]string, parents map[reflect.Type]bool) error {
	if parents[t] {
		return nil // a struct embeds itself: encoding/json takes the outer one
	}
	parents[t] = true
	defer delete(parents, t)
	for i := range t.NumField() {
		f := t.Field(i)
		at := path + "." + f.Name
		tag := f.Tag.Get("json")
		if f.Tag.Get("cachify") == "-" && tag != "-" && (f.IsExported() || f.Anonymous) {
			return fmt.Errorf("%s: encoding/json does not know the tag `cachify:\"-\"`: use `json:\"-\"`", at)
		}
		if tag == "-" || leftOut(f) {
			continue
		}
		if why := unsettable(f); why != "" {
			return fmt.Errorf("%s %s, so JSON would lose it: export it, or tag it `json:\"-\"` if it may be lost, or give %s the methods MarshalJSON and UnmarshalJSON", at, why, t)
		}
		name, _, _ := strings.Cut(tag, ",")
		of, direct := f.Type, addressable
		if of.Kind() == reflect.Pointer {
			of, direct = of.Elem(), true
		}
		if f.Anonymous && name == "" && of.Kind() == reflect.Struct {
			if err := c.fields(of, at, direct, names, parents); err != nil {
				return err
			}
			continue
		}
		if name == "" {
			name = f.Name
		}
		if other, ok := names[name]; ok {
			return fmt.Errorf("%s and %s are both named %q in JSON, so one would be lost: change the tag of one of them, or tag the embedded struct with a name", other, at, name)
		}
		names[name] = at
		if err := c.check(f.Type, at, addressable); err != nil {
			return err
		}
	}
	return nil
}

func jsonMapKey(t reflect.Type, path string) error {
	marshals, unmarshals := t.Implements(textWay.marshal.of), reflect.PointerTo(t).Implements(textWay.unmarshal.of)
	switch t.Kind() {
	case reflect.String, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if marshals == unmarshals {
			return nil
		}
	}
	if !marshals || !unmarshals {
		return fmt.Errorf("%s: %s can't be the key of a map in JSON: use a string or an integer, or give it MarshalText and UnmarshalText", path, t)
	}
	return nil
}
