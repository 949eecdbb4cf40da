package keytemplate

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
)

// appendAny appends the value of the step. args is on the heap.
func (s *keyStep) appendAny(b []byte, args keyRef) ([]byte, error) {
	if !s.typ.reflects() {
		return s.appendPlain(b, args)
	}
	value, depth, isNil := s.find(args)
	if !isNil && s.filters.any() {
		var typ *keyType
		if typ, value, depth, isNil = s.typ.follow(value, depth); !isNil {
			text, err := s.filters.anyText(typ, value)
			if err != nil {
				return b, err
			}
			return s.filters.append(b, text, s.place), nil
		}
	}
	if isNil {
		return s.place.appendNil(b, depth), nil
	}
	return s.typ.appendAny(b, value, depth, s.place)
}

// appendAny appends the value of type k, depth pointers deep.
//
// Lists, maps and structs are written in brackets, and their elements escape what could be taken for a comma, bracket
// or equals sign of theirs. So their texts end where their last bracket is, and need no escaping for what follows.
func (k *keyType) appendAny(b []byte, value keyRef, depth int, place *keyPlace) ([]byte, error) {
	k, value, depth, isNil := k.follow(value, depth)
	if isNil {
		return place.appendNil(b, depth), nil
	}
	switch k.form {
	case formText:
		text, err := k.marshalText(value)
		return place.appendText(b, text), err
	case formList:
		return k.appendList(b, value)
	case formMap:
		return k.appendMap(b, value)
	case formStruct:
		return k.appendStruct(b, value)
	}
	return k.appendPlain(b, value, place)
}

// marshalText gives the text of a value with a MarshalText method, on a pointer or not.
func (k *keyType) marshalText(value keyRef) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%s.MarshalText panicked: %v", k.typ, r)
		}
	}()
	b, err := value.pointer(k.typ).Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return "", fmt.Errorf("%s.MarshalText: %w", k.typ, err)
	}
	return string(b), nil
}

// appendList appends a slice or an array: [a,b]. A text that is empty is written as %empty, to tell [""] from none.
func (k *keyType) appendList(b []byte, value keyRef) ([]byte, error) {
	length := 0
	if k.typ.Kind() == reflect.Array {
		length = k.typ.Len()
	} else {
		value, length = value.slice()
	}
	b = append(b, '[')
	for i := range length {
		if i > 0 {
			b = append(b, ',')
		}
		start := len(b)
		var err error
		if b, err = k.elem.appendAny(b, value.at(uintptr(i)*k.elem.size), 0, listPlace); err != nil {
			return b, err
		}
		if len(b) == start {
			b = append(b, "%empty"...)
		}
	}
	return append(b, ']'), nil
}

// appendMap appends a map: [k=v,l=w], sorted by these texts.
func (k *keyType) appendMap(b []byte, value keyRef) ([]byte, error) {
	var entries []string
	var entry []byte
	key, elem := reflect.New(k.key.typ), reflect.New(k.elem.typ)
	for it := value.pointer(k.typ).Elem().MapRange(); it.Next(); {
		key.Elem().SetIterKey(it)
		elem.Elem().SetIterValue(it)
		var err error
		if entry, err = k.key.appendAny(entry[:0], refOf(key), 0, mapKeyPlace); err != nil {
			return b, err
		}
		if entry, err = k.elem.appendAny(append(entry, '='), refOf(elem), 0, listPlace); err != nil {
			return b, err
		}
		entries = append(entries, string(entry))
	}
	slices.Sort(entries)
	b = append(b, '[')
	for i, e := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e...)
	}
	return append(b, ']'), nil
}

// appendStruct appends a struct: (page=1,sort=name). The names keep a key from being taken for another after fields were
// put into another order.
func (k *keyType) appendStruct(b []byte, value keyRef) ([]byte, error) {
	b = append(b, '(')
	for i, f := range k.fields {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, f.name...), '=')
		var err error
		if b, err = f.typ.appendAny(b, value.at(f.offset), 0, fieldPlace); err != nil {
			return b, fmt.Errorf("its field %s: %w", f.name, err)
		}
	}
	return append(b, ')'), nil
}
