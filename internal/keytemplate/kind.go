package keytemplate

import (
	"fmt"
	"reflect"
	"slices"
)

// A keyForm is a way to write values of a type as text.
type keyForm uint8

const (
	formString    keyForm = iota
	formBytes             // []byte, as a string
	formByteArray         // [n]byte, as hex
	formBool
	formInt
	formUint
	formFloat
	formComplex
	formTime
	formPointer // what it points to, or nil

	// The forms from here on need reflection.
	formText // encoding.TextMarshaler
	formList // slices and arrays
	formMap
	formStruct // its fields with their names
)

// A keyType says how to write values of a Go type as text.
type keyType struct {
	form    keyForm
	typ     reflect.Type
	size    uintptr       // of a value in memory, in bytes
	nilable bool          // a nil of this type has a text of its own
	elem    *keyType      // of pointers, lists and maps
	key     *keyType      // of maps
	fields  []keyTypePart // of structs
}

// A keyTypePart is a field of a formStruct.
type keyTypePart struct {
	name   string
	offset uintptr
	typ    *keyType
}

// keyTypeOf says how to write values of type t, or why that can't be done.
func keyTypeOf(t reflect.Type) (*keyType, error) { return buildKeyType(t, nil) }

// buildKeyType is keyTypeOf inside of types that are being built, to notice recursive ones.
func buildKeyType(t reflect.Type, within []reflect.Type) (*keyType, error) {
	if slices.Contains(within, t) {
		return nil, fmt.Errorf("%s is recursive, so its texts could go on without end: exclude it with the tag key:\"-\", or give it a MarshalText method", t)
	}
	within = append(within, t)
	k := &keyType{typ: t, size: t.Size()}
	var err error
	switch {
	case t == timeType:
		k.form = formTime
		return k, nil
	case t.Kind() == reflect.Pointer:
		k.form, k.nilable = formPointer, true
		k.elem, err = buildKeyType(t.Elem(), within)
		return k, err
	case hasText(t):
		k.form, k.nilable = formText, slices.Contains([]reflect.Kind{reflect.Slice, reflect.Map, reflect.Func, reflect.Chan}, t.Kind())
		return k, nil
	}
	switch t.Kind() {
	case reflect.String:
		k.form = formString
	case reflect.Bool:
		k.form = formBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		k.form = formInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		k.form = formUint
	case reflect.Float32, reflect.Float64:
		k.form = formFloat
	case reflect.Complex64, reflect.Complex128:
		k.form = formComplex
	case reflect.Slice, reflect.Array:
		k.form, k.nilable = formList, t.Kind() == reflect.Slice
		if k.elem, err = buildKeyType(t.Elem(), within); err != nil {
			return nil, err
		}
		if t.Elem().Kind() == reflect.Uint8 && k.elem.form == formUint {
			k.form = formByteArray
			if k.nilable {
				k.form = formBytes
			}
		}
	case reflect.Map:
		k.form, k.nilable = formMap, true
		if k.key, err = buildKeyType(t.Key(), within); err != nil {
			return nil, err
		}
		k.elem, err = buildKeyType(t.Elem(), within)
	case reflect.Struct:
		k.form = formStruct
		k.fields, err = buildKeyTypeParts(t, within)
	default: // func, chan, interface, unsafe.Pointer, uintptr
		return nil, fmt.Errorf("%s has no canonical text (kind %s): exclude it with the tag key:\"-\", or use a type with one, such as a string or a type with a MarshalText method", t, t.Kind())
	}
	return k, err
}

func buildKeyTypeParts(t reflect.Type, within []reflect.Type) ([]keyTypePart, error) {
	fields, err := keyFields(t)
	if err != nil {
		return nil, err
	}
	var parts []keyTypePart
	for _, f := range fields {
		if f.excluded {
			continue
		}
		typ, err := buildKeyType(f.typ, within)
		if err != nil {
			return nil, fmt.Errorf("its field %s: %w", f.goName, err)
		}
		parts = append(parts, keyTypePart{f.name, f.offset, typ})
	}
	return parts, nil
}

// reflects says whether writing the value needs reflection.
func (k *keyType) reflects() bool {
	for k.form == formPointer {
		k = k.elem
	}
	return k.form >= formText
}

// isText says whether the value is a text to begin with, which filters for texts can be used on.
func (k *keyType) isText() bool {
	return k.form == formString || k.form == formBytes || k.form == formText
}
