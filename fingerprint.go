package cachify

import (
	"crypto/sha256"
	"encoding/binary"
	"reflect"
	"strconv"
)

// fingerprint tells entries of one template, value type and codec from all others. It depends on the structure of t, not
// on its name: on names and tags of fields, kinds, and the names of types that marshal themselves. It is the same in all
// processes, on all platforms and in all builds.
func fingerprint(template string, t reflect.Type, codec string) uint64 {
	b := appendQuoted(nil, template)
	b = appendQuoted(b, codec)
	d := describer{seen: map[reflect.Type]int{}}
	sum := sha256.Sum256(d.describe(b, t))
	return binary.BigEndian.Uint64(sum[:])
}

func appendQuoted(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// A describer writes the structure of types. A type that it has met before is written as its number.
type describer struct{ seen map[reflect.Type]int }

func (d describer) describe(b []byte, t reflect.Type) []byte {
	if n, ok := d.seen[t]; ok {
		return append(strconv.AppendInt(append(b, '#'), int64(n), 10), ';')
	}
	d.seen[t] = len(d.seen)
	_, msgpack, _ := waysOf(t, msgpackWays)
	if _, json, _ := waysOf(t, jsonWays); msgpack < len(msgpackWays) || json < len(jsonWays) {
		b = appendQuoted(append(b, '!'), t.PkgPath()+"."+t.Name())
	}
	b = append(append(b, t.Kind().String()...), ' ')
	switch t.Kind() {
	case reflect.Struct:
		for i := range t.NumField() {
			b = d.field(b, t.Field(i))
		}
	case reflect.Interface:
		if t.NumMethod() > 0 {
			b = appendQuoted(b, t.PkgPath()+"."+t.Name())
		}
	case reflect.Map:
		b = d.describe(d.describe(b, t.Key()), t.Elem())
	case reflect.Array:
		b = d.describe(append(strconv.AppendInt(b, int64(t.Len()), 10), ' '), t.Elem())
	case reflect.Pointer, reflect.Slice:
		b = d.describe(b, t.Elem())
	}
	return append(b, ';')
}

// field describes a field. Those that are not exported are no part of the encoding, except that _msgpack's tag is, and
// so are embedded structs.
func (d describer) field(b []byte, f reflect.StructField) []byte {
	if !f.IsExported() && !f.Anonymous && f.Name != "_msgpack" {
		return b
	}
	b = appendQuoted(b, f.Name)
	if f.Anonymous {
		b = append(b, '^')
	}
	for _, key := range []string{"msgpack", "json", "cachify"} {
		b = appendQuoted(b, f.Tag.Get(key))
	}
	return d.describe(b, f.Type)
}
