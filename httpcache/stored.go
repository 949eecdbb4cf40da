package httpcache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// The stored form of an entry, version 1:
//
//	1 byte    version
//	1 byte    kind; entries that are no answer end after the id
//	8 bytes   id
//	8 bytes   when it was made, in microseconds since 1970
//	uvarint   flags, one bit each, in the order of entryFlags
//	uvarint   status
//	uvarint   initial age, lifetime, stale-while-revalidate, stale-if-error and for clients: five of them, in microseconds
//	uvarint   number of Vary names; each as uvarint length and bytes; the selector of 32 bytes if there is any
//	uvarint   length of the header that follows
//	          uvarint number of fields; each as name, one byte (1: add), uvarint number of values, values
//	rest      body
//
// Integers of fixed size are big-endian. It lies in an envelope of cachify's, which has a checksum.
const storedVersion = 1

const (
	maxStoredFields = 1024
	maxStoredMicros = 1 << 51 // 71 years, which is more than maxDelta, and a sum of four is no overflow
)

// storedCodec is the codec of entries. Decode keeps the body where it is in data: the store gives each reader bytes of its own,
// and nobody writes to a body.
type storedCodec struct{}

var errStored = errors.New("cachify: httpcache: not an entry of this version")

func (storedCodec) Name() string { return "httpcache1" }

func (storedCodec) Append(dst []byte, _ string, v any) ([]byte, error) {
	p, ok := v.(**entry)
	if !ok || *p == nil {
		return dst, fmt.Errorf("cachify: httpcache: %T is no entry", v)
	}
	return (*p).append(dst), nil
}

func (storedCodec) Decode(data []byte, _ string, v any) error {
	p, ok := v.(**entry)
	if !ok {
		return fmt.Errorf("cachify: httpcache: %T is no entry", v)
	}
	e, ok := parseStored(data)
	if !ok {
		return errStored
	}
	*p = e
	return nil
}

func (f *entryFlags) bits() []*bool {
	return []*bool{&f.mustValidate, &f.noStale, &f.immutable, &f.implicit, &f.authorized, &f.madeETag, &f.clientTTL}
}

func (e *entry) append(b []byte) []byte {
	b = append(b, storedVersion, byte(e.kind))
	b = binary.BigEndian.AppendUint64(b, e.id)
	if e.kind != isAnswer {
		return b
	}
	b = binary.BigEndian.AppendUint64(b, uint64(e.made.UnixMicro()))
	var flags uint64
	for i, set := range e.bits() {
		if *set {
			flags |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, flags)
	b = binary.AppendUvarint(b, uint64(e.status))
	for _, d := range []time.Duration{e.initialAge, e.lifetime, e.staleWhileRevalidate, e.staleIfError, e.clientFor} {
		b = binary.AppendUvarint(b, uint64(d.Microseconds()))
	}
	b = binary.AppendUvarint(b, uint64(len(e.vary)))
	for _, name := range e.vary {
		b = appendSized(b, name)
	}
	if len(e.vary) > 0 {
		b = append(b, e.selector[:]...)
	}
	b = appendSized(b, string(appendFields(nil, e.header)))
	return append(b, e.body...)
}

func appendFields(b []byte, fields []field) []byte {
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for _, f := range fields {
		b = appendSized(b, f.name)
		add := byte(0)
		if f.add {
			add = 1
		}
		b = append(b, add)
		b = binary.AppendUvarint(b, uint64(len(f.values)))
		for _, v := range f.values {
			b = appendSized(b, v)
		}
	}
	return b
}

// parseStored reads an entry. It says false of all that append would not have written, as far as that can be told, and above all of
// headers that are none: whoever can write to the store must not be able to end a header and begin another.
func parseStored(data []byte) (*entry, bool) {
	r := storedReader{data: data}
	if r.byte() != storedVersion {
		return nil, false
	}
	e := &entry{kind: kind(r.byte()), id: r.uint64()}
	switch {
	case r.bad:
		return nil, false
	case e.kind == isPass || e.kind == isFailing || e.kind == isRenewed:
		return e, len(r.data) == 0
	case e.kind != isAnswer:
		return nil, false
	}
	e.made = time.UnixMicro(int64(r.uint64()))
	flags := r.uvarint(1<<len(e.bits()) - 1)
	for i, set := range e.bits() {
		*set = flags&(1<<i) != 0
	}
	e.status = int(r.uvarint(999))
	for _, d := range []*time.Duration{&e.initialAge, &e.lifetime, &e.staleWhileRevalidate, &e.staleIfError, &e.clientFor} {
		*d = time.Duration(r.uvarint(maxStoredMicros)) * time.Microsecond
	}
	e.vary = r.names()
	if len(e.vary) > 0 {
		copy(e.selector[:], r.take(len(e.selector)))
	}
	header := fieldReader{rest: string(r.take(int(r.uvarint(uint64(len(r.data))))))}
	e.header = header.fields()
	e.body = r.data
	return e, !r.bad && !header.bad && e.status >= 200 && mayStoreStatus(e.status)
}

// A storedReader reads from the front of data. After anything that does not fit it gives zeros.
type storedReader struct {
	data []byte
	bad  bool
}

func (r *storedReader) take(n int) []byte {
	if n > len(r.data) {
		r.bad = true
		n = len(r.data)
	}
	b := r.data[:n:n]
	r.data = r.data[n:]
	return b
}

func (r *storedReader) byte() byte {
	if b := r.take(1); len(b) == 1 {
		return b[0]
	}
	return 0
}

func (r *storedReader) uint64() uint64 {
	if b := r.take(8); len(b) == 8 {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *storedReader) uvarint(max uint64) uint64 {
	u, n := binary.Uvarint(r.data)
	if n <= 0 || u > max {
		r.bad = true
		return 0
	}
	r.data = r.data[n:]
	return u
}

func (r *storedReader) names() (names []string) {
	for range r.uvarint(maxVaryNames) {
		name := string(r.take(int(r.uvarint(uint64(len(r.data))))))
		if !isToken(name) || http.CanonicalHeaderKey(name) != name {
			r.bad = true
		}
		names = append(names, name)
	}
	return names
}

// A fieldReader reads headers, whose names and values share the memory of one string.
type fieldReader struct {
	rest string
	bad  bool
}

func (r *fieldReader) fields() []field {
	n := r.uvarint(maxStoredFields)
	if n == 0 || n > len(r.rest) { // each takes a byte at least
		r.bad = r.bad || n > 0 || r.rest != ""
		return nil
	}
	fields := make([]field, 0, n)
	values := make([]string, 0, n) // most have one
	for range n {
		f := field{name: r.text()}
		add := r.uvarint(1)
		f.add = add == 1
		start := len(values)
		for range r.uvarint(maxStoredFields) {
			v := r.text()
			if r.bad || !isFieldValue(v) {
				r.bad = true
				return nil
			}
			values = append(values, v)
		}
		f.values = values[start:len(values):len(values)]
		if r.bad || !isToken(f.name) || http.CanonicalHeaderKey(f.name) != f.name || neverStored(f.name) {
			r.bad = true
			return nil
		}
		fields = append(fields, f)
	}
	r.bad = r.bad || r.rest != ""
	return fields
}

func (r *fieldReader) uvarint(max int) int {
	var u uint64
	for i := range min(len(r.rest), 5) {
		u |= uint64(r.rest[i]&0x7f) << (7 * i)
		if r.rest[i] < 0x80 {
			r.rest = r.rest[i+1:]
			if u > uint64(max) {
				break
			}
			return int(u)
		}
	}
	r.bad = true
	return 0
}

func (r *fieldReader) text() string {
	n := r.uvarint(len(r.rest))
	if n > len(r.rest) {
		r.bad = true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}
