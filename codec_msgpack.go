package cachify

import (
	"errors"
	"fmt"
	"reflect"
	"sync"

	"github.com/vmihailenco/msgpack/v5"
)

// MsgPack is the default codec. It writes MessagePack with github.com/vmihailenco/msgpack/v5: its struct tags and its
// ways for types to marshal themselves count here too. A value comes back exactly as it was: nil is nil and empty is
// empty, integers keep their types, a time keeps its zone (but not the reading of the monotonic clock).
// Constructors refuse the types of which msgpack/v5 would lose something, and say how to mend them;
// docs/wire-format.md lists them. The tag cachify:"-" leaves out a field as msgpack:"-" does.
//
// What an interface holds comes back as the general type of its encoding: an int as the smallest type that
// holds it, a struct as a map[string]any, a time in the local zone, an error as one with the same text. A field
// tagged omitempty comes back as zero where msgpack/v5 finds it empty, which an empty slice is.
//
// A value may be nested 10,000 levels deep; a cyclic one is an error.
func MsgPack() Codec { return msgPack{} }

type msgPack struct{}

func (msgPack) Name() string { return "msgpack" }

// fallbackTag is read where a field has no tag msgpack.
const fallbackTag = "cachify"

var errNoPointer = errors.New("not a pointer to a value")

// A packer is an encoder that appends to buf.
type packer struct {
	enc *msgpack.Encoder
	buf []byte
}

func (p *packer) Write(b []byte) (int, error) {
	p.buf = append(p.buf, b...)
	return len(b), nil
}

func (p *packer) WriteByte(c byte) error {
	p.buf = append(p.buf, c)
	return nil
}

// After an error or a panic packers and unpackers are not used again: their state is unknown.
var (
	packers   = sync.Pool{New: func() any { return &packer{enc: msgpack.NewEncoder(nil)} }}
	unpackers = sync.Pool{New: func() any { return &unpacker{dec: msgpack.NewDecoder(nil)} }}
)

func (msgPack) Append(dst []byte, _ string, v any) (b []byte, err error) {
	defer recovered(&err, "encoding", v)
	p := packers.Get().(*packer)
	p.buf = dst
	if err := p.encode(reflect.ValueOf(v)); err != nil {
		return nil, fmt.Errorf("cachify: encoding %T: %w", v, err)
	}
	b, p.buf = p.buf, nil
	packers.Put(p)
	return b, nil
}

func (p *packer) encode(v reflect.Value) error {
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errNoPointer
	}
	v = v.Elem()
	s := shapeOf(v.Type())
	if s.unbounded && tooDeep(v, 0) {
		return errTooDeep
	}
	p.enc.Reset(p)
	p.enc.SetCustomStructTag(fallbackTag)
	if err := p.enc.EncodeValue(v); err != nil || !s.zoned {
		return err
	}
	return (&zoneWriter{enc: p.enc}).walk(v)
}

func (msgPack) Decode(data []byte, _ string, v any) (err error) {
	defer recovered(&err, "decoding", v)
	u := unpackers.Get().(*unpacker)
	if err := u.decode(data, reflect.ValueOf(v)); err != nil {
		return fmt.Errorf("cachify: decoding %T: %w", v, err)
	}
	u.scanned = scanned{exts: u.exts[:0]}
	if len(data) <= maxPooled {
		unpackers.Put(u)
	}
	return nil
}

// An unpacker is a decoder that reads what has been scanned.
type unpacker struct {
	dec *msgpack.Decoder
	scanned
}

func (u *unpacker) decode(data []byte, v reflect.Value) error {
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errNoPointer
	}
	v = v.Elem()
	if err := u.scan(data); err != nil {
		return err
	}
	u.dec.Reset(&u.scanned)
	u.dec.SetCustomStructTag(fallbackTag)
	if err := u.dec.DecodeValue(v); err != nil {
		return err
	}
	if shapeOf(v.Type()).zoned {
		if err := (&zoneReader{dec: u.dec}).walk(v); err != nil {
			return err
		}
	}
	if n := len(u.data) - u.pos; n > 0 {
		return fmt.Errorf("%d bytes left over", n)
	}
	return nil
}

func (msgPack) checkType(t reflect.Type) error {
	c := msgpackChecker{seen: map[typePlace]bool{}}
	if err := c.check(t, t.String(), true); err != nil {
		return fmt.Errorf("cachify: %s can't be cached: %w", t, err)
	}
	return nil
}
