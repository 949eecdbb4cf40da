package keytemplate

import (
	"reflect"
	"time"
	"unsafe"
)

// A keyRef is where a value of a known type is in memory. All unsafe code of the key templates is in this file. It
// lets a key be rendered straight from the fields, without reflection and without moving the arguments to the heap.
//
// It is safe because every keyRef starts at a variable (refTo), and the offsets, sizes and types used with it come
// from the reflect.Type of that very variable, at construction. Pointers stay pointers for the garbage collector and the
// stack copier throughout; none is ever held as an integer. No method writes.
type keyRef struct{ p unsafe.Pointer }

func refTo[T any](v *T) keyRef { return keyRef{unsafe.Pointer(v)} }

// refOf is refTo for a value known by reflection only; v is a pointer.
func refOf(v reflect.Value) keyRef { return keyRef{v.UnsafePointer()} }

// at is the field at offset of the struct that r refers to, or the element there of an array.
func (r keyRef) at(offset uintptr) keyRef { return keyRef{unsafe.Add(r.p, offset)} }

// deref follows the pointer that r refers to.
func (r keyRef) deref() keyRef { return keyRef{*(*unsafe.Pointer)(r.p)} }

// isNil says whether the pointer, slice, map, func or chan that r refers to is nil: the first word of each tells.
func (r keyRef) isNil() bool { return *(*unsafe.Pointer)(r.p) == nil }

func (r keyRef) bool() bool      { return *(*bool)(r.p) }
func (r keyRef) string() string  { return *(*string)(r.p) }
func (r keyRef) time() time.Time { return *(*time.Time)(r.p) }

// bytes gives the []byte that r refers to as a string that shares its memory: read it at once and drop it.
func (r keyRef) bytes() string {
	b := *(*[]byte)(r.p)
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// byteArray gives the [n]byte that r refers to.
func (r keyRef) byteArray(n int) []byte { return unsafe.Slice((*byte)(r.p), n) }

// slice gives the first element and the length of the slice that r refers to.
func (r keyRef) slice() (first keyRef, length int) {
	return r.deref(), len(*(*[]struct{})(r.p))
}

// int reads a signed integer of size bytes.
func (r keyRef) int(size uintptr) int64 {
	switch size {
	case 1:
		return int64(*(*int8)(r.p))
	case 2:
		return int64(*(*int16)(r.p))
	case 4:
		return int64(*(*int32)(r.p))
	}
	return *(*int64)(r.p)
}

// uint reads an unsigned integer of size bytes.
func (r keyRef) uint(size uintptr) uint64 {
	switch size {
	case 1:
		return uint64(*(*uint8)(r.p))
	case 2:
		return uint64(*(*uint16)(r.p))
	case 4:
		return uint64(*(*uint32)(r.p))
	}
	return *(*uint64)(r.p)
}

// float reads a floating-point number of size bytes.
func (r keyRef) float(size uintptr) float64 {
	if size == 4 {
		return float64(*(*float32)(r.p))
	}
	return *(*float64)(r.p)
}

// pointer gives a pointer to the value of type t that r refers to. It makes what r refers to escape to the heap.
func (r keyRef) pointer(t reflect.Type) reflect.Value { return reflect.NewAt(t, r.p) }
