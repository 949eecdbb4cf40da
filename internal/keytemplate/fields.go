package keytemplate

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
)

var (
	timeType          = reflect.TypeFor[time.Time]()
	textMarshalerType = reflect.TypeFor[encoding.TextMarshaler]()
)

// A keyField is a field of a struct as templates see it.
type keyField struct {
	name     string // in templates
	goName   string
	typ      reflect.Type
	index    int
	offset   uintptr
	excluded bool // by key:"-"
	promotes bool // an embedded struct: its fields can be mentioned as if they were the outer struct's
}

// keyFields lists the fields of struct t that belong to keys or are excluded from them: the exported ones, and
// embedded structs, as Go promotes the exported fields of those.
func keyFields(t reflect.Type) ([]keyField, error) {
	var fields []keyField
	opaque := false
	for i := range t.NumField() {
		sf := t.Field(i)
		tag := sf.Tag.Get("key")
		f := keyField{
			name: tag, goName: sf.Name, typ: sf.Type, index: i, offset: sf.Offset, excluded: tag == "-",
			promotes: sf.Anonymous && isFieldwise(withoutPointer(sf.Type)) && (sf.IsExported() || exportsFields(withoutPointer(sf.Type), 0)),
		}
		if tag == "" {
			f.name = snakeCase(sf.Name)
		}
		switch {
		case !sf.IsExported() && !f.excluded && !f.promotes:
			if tag != "" {
				return nil, fmt.Errorf("field %s of %s is unexported and can't be in a key: export it or take its key tag away", sf.Name, t)
			}
			opaque = opaque || sf.Name != "_"
			continue
		case !f.excluded && !isKeyName(f.name):
			return nil, fmt.Errorf("field %s of %s has the tag key:%q, which is not a name: names are made of letters, digits, _ and -", sf.Name, t, tag)
		}
		for _, other := range fields {
			if other.name == f.name && !f.excluded {
				return nil, fmt.Errorf("fields %s and %s of %s are both called %q: give one another name with a key tag", other.goName, f.goName, t, f.name)
			}
		}
		fields = append(fields, f)
	}
	if opaque && len(fields) == 0 {
		return nil, fmt.Errorf("%s has no canonical text, as all its fields are unexported: exclude it with the tag key:\"-\", export the fields, or give it a MarshalText method", t)
	}
	return fields, nil
}

// exportsFields says whether struct t, embedded depth structs deep, has exported fields, its own or promoted ones.
func exportsFields(t reflect.Type, depth int) bool {
	const deepest = 8 // type t struct{ *t } never ends
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() {
			return true
		}
		if inner := withoutPointer(f.Type); f.Anonymous && inner.Kind() == reflect.Struct && depth < deepest && exportsFields(inner, depth+1) {
			return true
		}
	}
	return false
}

// findKeyField finds the field of struct t that is called name, and gives the way to it: one field, or several
// where name is promoted from an embedded struct. As in Go the shallowest field wins.
func findKeyField(t reflect.Type, name string) ([]keyField, error) {
	type level struct {
		typ reflect.Type
		way []keyField
	}
	var seen []reflect.Type // on the levels above
	for levels := []level{{typ: t}}; len(levels) > 0; {
		var found [][]keyField
		var next []level
		for _, l := range levels {
			seen = append(seen, l.typ)
		}
		for _, l := range levels {
			fields, err := keyFields(l.typ)
			if err != nil {
				return nil, err
			}
			for _, f := range fields {
				way := append(slices.Clone(l.way), f)
				switch inner := withoutPointer(f.typ); {
				case f.excluded:
				case f.name == name:
					found = append(found, way)
				case f.promotes && !slices.Contains(seen, inner):
					next = append(next, level{inner, way})
				}
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return nil, fmt.Errorf("%s promotes %q from more than one embedded struct: write <%s>", t, name, dotted(found[0]))
		}
		levels = next
	}
	return nil, noSuchField(t, name)
}

// noSuchField says why no field of struct t can be mentioned as name, and which ones can.
func noSuchField(t reflect.Type, name string) error {
	fields, err := keyFields(t)
	if err != nil {
		return err
	}
	for i := range t.NumField() {
		if f := t.Field(i); snakeCase(f.Name) == name && !f.IsExported() {
			return fmt.Errorf("field %s of %s is unexported and can't be in a key: export it", f.Name, t)
		}
	}
	var names []string
	for _, f := range fields {
		if f.excluded && snakeCase(f.goName) == name {
			return fmt.Errorf("field %s of %s is excluded by its tag key:\"-\": take the tag or the placeholder away", f.goName, t)
		}
		if !f.excluded {
			names = append(names, "<"+f.name+">")
		}
	}
	if len(names) == 0 {
		return fmt.Errorf("%s has no field that can be in a key: take the placeholder away", t)
	}
	return fmt.Errorf("%s has no such field: use one of %s", t, strings.Join(names, ", "))
}

func dotted(way []keyField) string {
	names := make([]string, len(way))
	for i, f := range way {
		names[i] = f.name
	}
	return strings.Join(names, ".")
}

// isFieldwise tells structs whose fields go into a key one by one from types that have one text of their own.
func isFieldwise(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != timeType && !hasText(t)
}

// hasText says whether t, which is not a pointer, has a text of its own. A struct that embeds such a type has not: Go
// promotes the embedded MarshalText to it, and that text would leave the struct's other fields out.
func hasText(t reflect.Type) bool {
	if t.Kind() == reflect.Interface || !reflect.PointerTo(t).Implements(textMarshalerType) {
		return false
	}
	if t.Kind() != reflect.Struct {
		return true
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && (f.Type.Implements(textMarshalerType) || reflect.PointerTo(f.Type).Implements(textMarshalerType)) {
			return false
		}
	}
	return true
}

func withoutPointer(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// structBehind follows pointers to a struct whose fields go into a key one by one, and counts them.
func structBehind(t reflect.Type) (_ reflect.Type, pointers int, ok bool) {
	const most = 8 // type P *P never ends
	for ; t.Kind() == reflect.Pointer && pointers < most; pointers++ {
		t = t.Elem()
	}
	return t, pointers, isFieldwise(t)
}

// suggestedName gives a name for the placeholder of an argument of type t.
func suggestedName(t reflect.Type) string {
	if name := snakeCase(withoutPointer(t).Name()); isKeyName(name) && withoutPointer(t).PkgPath() != "" {
		return name
	}
	return "id"
}

func isKeyName(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
}

// snakeCase writes a Go name in snake case: UserID is user_id, HTTPServerURL http_server_url, UserIDs user_ids.
func snakeCase(name string) string {
	runes := []rune(name)
	upper := func(i int) bool { return i < len(runes) && unicode.IsUpper(runes[i]) }
	lower := func(i int) bool { return i < len(runes) && unicode.IsLower(runes[i]) }
	plural := func(i int) bool { return i < len(runes) && runes[i] == 's' && !lower(i+1) }
	var out strings.Builder
	for i, r := range runes {
		starts := upper(i) && i > 0 && runes[i-1] != '_' && (!upper(i-1) || lower(i+1) && !plural(i+1))
		if starts {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
