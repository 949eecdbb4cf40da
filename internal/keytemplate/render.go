package keytemplate

import (
	"encoding/hex"
	"errors"
	"math"
	"strconv"
	"time"
)

var (
	errNaN     = errors.New("a NaN equals no value, not even itself, so it can't be in a key")
	errYear    = errors.New("the year of the time is not between 0 and 9999, so it can't be in a key")
	errNilArgs = errors.New("the arguments are a nil pointer, which has no fields for a key")
)

// keyBufferSize is what a key may take, with its prefix, to be rendered with one allocation.
const keyBufferSize = 192

// renderPlain renders without reflection. Neither it nor what it calls keeps args or the buffer, so that both stay on
// the stack.
func (p *keyProgram) renderPlain(prefix string, args keyRef) (string, error) {
	var buffer [keyBufferSize]byte
	b := append(buffer[:0], prefix...)
	args, ok := p.arguments(args)
	if !ok {
		return "", p.fail("", errNilArgs)
	}
	var err error
	for i := range p.steps {
		s := &p.steps[i]
		if b, err = s.appendPlain(append(b, s.literal...), args); err != nil {
			return "", p.fail(s.name, err)
		}
	}
	b = append(b, p.tail...)
	return p.finish(b, len(prefix)), nil
}

// renderReflecting renders whatever there is. args must be on the heap.
func (p *keyProgram) renderReflecting(prefix string, args keyRef) (string, error) {
	b := append(make([]byte, 0, keyBufferSize), prefix...)
	args, ok := p.arguments(args)
	if !ok {
		return "", p.fail("", errNilArgs)
	}
	var err error
	for i := range p.steps {
		s := &p.steps[i]
		if b, err = s.appendAny(append(b, s.literal...), args); err != nil {
			return "", p.fail(s.name, err)
		}
	}
	b = append(b, p.tail...)
	return p.finish(b, len(prefix)), nil
}

// arguments follows the pointers from the arguments to their struct.
func (p *keyProgram) arguments(args keyRef) (_ keyRef, ok bool) {
	for range p.pointers {
		if args.isNil() {
			return args, false
		}
		args = args.deref()
	}
	return args, true
}

// find goes to the value of the step. If it meets a nil pointer on the way, depth says how many it followed before.
func (s *keyStep) find(args keyRef) (value keyRef, depth int, isNil bool) {
	for i, offset := range s.hops {
		args = args.at(offset)
		if args.isNil() {
			return args, i, true
		}
		args = args.deref()
	}
	return args.at(s.offset), len(s.hops), false
}

// follow follows pointers from a value of type k, depth pointers deep already, to what they point to.
func (k *keyType) follow(value keyRef, depth int) (_ *keyType, _ keyRef, _ int, isNil bool) {
	for k.nilable {
		if value.isNil() {
			return k, value, depth, true
		}
		if k.form != formPointer {
			break
		}
		k, value, depth = k.elem, value.deref(), depth+1
	}
	return k, value, depth, false
}

// appendPlain appends the value of the step, which needs no reflection.
func (s *keyStep) appendPlain(b []byte, args keyRef) ([]byte, error) {
	if s.direct {
		return s.typ.appendPlain(b, args.at(s.offset), s.place)
	}
	value, depth, isNil := s.find(args)
	typ := s.typ
	if !isNil && typ.nilable {
		typ, value, depth, isNil = typ.follow(value, depth)
	}
	if isNil {
		return s.place.appendNil(b, depth), nil
	}
	if s.filters.any() {
		text, err := s.filters.plainText(typ, value)
		if err != nil {
			return b, err
		}
		return s.filters.append(b, text, s.place), nil
	}
	return typ.appendPlain(b, value, s.place)
}

// appendPlain appends value, which is not nil and needs no reflection.
func (k *keyType) appendPlain(b []byte, value keyRef, place *keyPlace) ([]byte, error) {
	start := len(b)
	switch k.form {
	case formString:
		return place.appendText(b, value.string()), nil
	case formInt:
		return place.guardNumber(strconv.AppendInt(b, value.int(k.size), 10), start), nil
	case formUint:
		return place.guardNumber(strconv.AppendUint(b, value.uint(k.size), 10), start), nil
	case formBytes:
		return place.appendText(b, value.bytes()), nil
	case formByteArray:
		return hex.AppendEncode(b, value.byteArray(int(k.size))), nil
	case formBool:
		return strconv.AppendBool(b, value.bool()), nil
	case formFloat:
		b, err := appendFloat(b, value.float(k.size), int(k.size)*8)
		return place.guardNumber(b, start), err
	case formComplex:
		b, err := appendComplex(b, value, k.size/2)
		return place.guardNumber(b, start), err
	default: // formTime
		return appendTime(b, value.time(), time.RFC3339Nano)
	}
}

// appendTime appends t in UTC, so that two times that are Equal have one text. The texts of RFC 3339 end at their
// Z, so nothing in them can be misread.
func appendTime(b []byte, t time.Time, layout string) ([]byte, error) {
	t = t.UTC()
	if year := t.Year(); year < 0 || year > 9999 {
		return b, errYear
	}
	return t.AppendFormat(b, layout), nil
}

// appendFloat appends the shortest text that reads back as f, with an exponent where JSON has one. -0 equals 0 and is
// written as 0.
func appendFloat(b []byte, f float64, bits int) ([]byte, error) {
	switch abs := math.Abs(f); {
	case f != f:
		return b, errNaN
	case f == 0:
		return append(b, '0'), nil
	case abs < 1e-6 || abs >= 1e21:
		return strconv.AppendFloat(b, f, 'e', -1, bits), nil
	}
	return strconv.AppendFloat(b, f, 'f', -1, bits), nil
}

// appendComplex appends the complex number at value, whose parts are of size bytes, as 1+2i.
func appendComplex(b []byte, value keyRef, size uintptr) ([]byte, error) {
	bits := int(size) * 8
	b, err := appendFloat(b, value.float(size), bits)
	if err != nil {
		return b, err
	}
	imaginary := value.at(size).float(size)
	if imaginary >= 0 && !math.IsInf(imaginary, 1) { // Inf comes with its own sign
		b = append(b, '+')
	}
	b, err = appendFloat(b, imaginary, bits)
	return append(b, 'i'), err
}
