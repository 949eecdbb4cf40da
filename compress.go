package cachify

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"sync"
)

// DefaultCompressFrom is the length in bytes from which [Compress] tries to compress. Shorter payloads hardly get smaller.
const DefaultCompressFrom = 1024

const (
	// maxRatio is more than deflate can compress anything (RFC 1951: a code of two bits for a repetition of
	// 258 bytes, so 1,032 to 1).
	maxRatio = 1032

	// maxPlain is the longest string that Redis holds by default (proto-max-bulk-len).
	maxPlain = 512 << 20

	markPlain   = 0
	markDeflate = 1
)

// Compress gives a codec that compresses what c writes with deflate (RFC 1951) at its fastest level, from a
// length of [DefaultCompressFrom] on and where that makes it shorter. A first byte tells which. To encrypt too, compress first:
// Encrypt(Compress(c), key).
//
// Decoding reads as far as the length that was written, and refuses more than 1,032 times the compressed length, which
// is all that deflate can give, and more than 512 MiB. It allocates as output comes, not what a header promises.
//
// A nil c is [MsgPack]. A codec of Compress is returned as it is.
func Compress(c Codec) Codec {
	if c, ok := c.(compressed); ok {
		return c
	}
	return CompressFrom(c, DefaultCompressFrom)
}

// CompressFrom is [Compress] from another length on, in bytes as the codec inside writes them; zero or less is all lengths. Entries do
// not depend on it: they can be read whatever the length is set to. A codec of Compress gets the new length.
func CompressFrom(c Codec, from int) Codec {
	switch inner := c.(type) {
	case nil:
		c = MsgPack()
	case compressed:
		c = inner.Codec
	}
	return compressed{c, from}
}

type compressed struct {
	Codec
	from int
}

func (c compressed) Name() string { return "deflate+" + c.Codec.Name() }

func (c compressed) checkType(t reflect.Type) error { return checkValueType(t, c.Codec) }

func (c compressed) Append(dst []byte, key string, v any) ([]byte, error) {
	start := len(dst)
	b, err := c.Codec.Append(append(dst, markPlain), key, v)
	if err != nil {
		return nil, err
	}
	plain := b[start+1:]
	if len(plain) < c.from || len(plain) > maxPlain {
		return b, nil
	}
	d := deflaters.Get().(*deflater)
	defer d.free()
	d.out = binary.AppendUvarint(append(d.out[:0], markDeflate), uint64(len(plain)))
	d.w.Reset(d)
	if _, err := d.w.Write(plain); err != nil {
		return nil, fmt.Errorf("cachify: compressing: %w", err)
	}
	if err := d.w.Close(); err != nil {
		return nil, fmt.Errorf("cachify: compressing: %w", err)
	}
	if len(d.out) < len(plain) {
		b = append(b[:start], d.out...)
	}
	return b, nil
}

func (c compressed) Decode(data []byte, key string, v any) error {
	if len(data) == 0 {
		return errors.New("cachify: decompressing: no data")
	}
	switch data[0] {
	case markPlain:
		return c.Codec.Decode(data[1:], key, v)
	case markDeflate:
	default:
		return fmt.Errorf("cachify: decompressing: unknown first byte %#02x", data[0])
	}
	n, size := binary.Uvarint(data[1:])
	if size <= 0 {
		return errors.New("cachify: decompressing: the length is damaged")
	}
	data = data[1+size:]
	if n > maxPlain || n > maxRatio*uint64(len(data)) {
		return fmt.Errorf("cachify: decompressing: a length of %d is not to be believed of %d bytes", n, len(data))
	}
	i := inflaters.Get().(*inflater)
	defer i.free()
	plain, err := i.inflate(data, int(n))
	if err != nil {
		return fmt.Errorf("cachify: decompressing: %w", err)
	}
	return c.Codec.Decode(plain, key, v)
}

// maxPooled is the capacity up to which buffers are kept for the next use. Rare big values are not worth their memory.
const maxPooled = 64 << 10

type deflater struct {
	w   *flate.Writer
	out []byte
}

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(nil, flate.BestSpeed) // fails for unknown levels only
	return &deflater{w: w}
}}

func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

func (d *deflater) free() {
	if cap(d.out) > maxPooled {
		d.out = nil
	}
	deflaters.Put(d)
}

type inflater struct {
	in  bytes.Reader
	r   io.ReadCloser
	out []byte
}

var inflaters = sync.Pool{New: func() any { return &inflater{r: flate.NewReader(nil)} }}

// inflate gives the n bytes that data holds compressed. They are good until free.
func (i *inflater) inflate(data []byte, n int) ([]byte, error) {
	i.in.Reset(data)
	if err := i.r.(flate.Resetter).Reset(&i.in, nil); err != nil {
		return nil, err
	}
	// One byte more than n, to meet the end of the stream or what is too much.
	i.out = slices.Grow(i.out[:0], min(n+1, maxPooled))
	for {
		got, err := i.r.Read(i.out[len(i.out):min(cap(i.out), n+1)])
		i.out = i.out[:len(i.out)+got]
		switch {
		case len(i.out) > n:
			return nil, fmt.Errorf("more than the %d bytes expected", n)
		case err == io.EOF && len(i.out) < n:
			return nil, io.ErrUnexpectedEOF
		case err == io.EOF && i.in.Len() > 0:
			return nil, fmt.Errorf("%d bytes left over", i.in.Len())
		case err == io.EOF:
			return i.out, nil
		case err != nil:
			return nil, err
		}
		if len(i.out) == cap(i.out) {
			i.out = slices.Grow(i.out, min(len(i.out), n+1-len(i.out)))
		}
	}
}

func (i *inflater) free() {
	i.in.Reset(nil)
	if cap(i.out) > maxPooled {
		i.out = nil
	}
	inflaters.Put(i)
}
