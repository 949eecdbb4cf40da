package cachify

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// maxDepth bounds how deep values may be nested, so that no cyclic value and no damaged data exhausts the stack, which
// can't be recovered from. encoding/json has the same bound.
const maxDepth = 10_000

var (
	errTooDeep = fmt.Errorf("nested deeper than %d levels, or cyclic", maxDepth)
	errShort   = errors.New("the data ends early")
)

// scanned is MessagePack that has been looked through, and a reader of it. msgpack/v5 believes the lengths it
// reads and allocates for them, and recurses as deep as the data says; after scan it may.
type scanned struct {
	data []byte
	pos  int
	exts []int // where the bodies of extensions begin
	next int   // the first of exts that is not behind pos
}

// scan says whether data is a sequence of whole values, none nested too deep.
func (s *scanned) scan(data []byte) error {
	*s = scanned{data: data, exts: s.exts[:0]}
	for s.pos < len(data) {
		if err := s.value(0); err != nil {
			return err
		}
	}
	s.pos, s.next = 0, 0
	return nil
}

// scalars has, by its first byte, the length of a value whose first byte alone tells it, and 0 for all others.
var scalars = func() (lengths [256]uint8) {
	for i := range lengths {
		switch c := byte(i); {
		case msgpcode.IsFixedNum(c), c == msgpcode.Nil, c == msgpcode.False, c == msgpcode.True:
			lengths[i] = 1
		case msgpcode.IsFixedString(c):
			lengths[i] = 1 + c&msgpcode.FixedStrMask
		case c == msgpcode.Float, c == msgpcode.Double:
			lengths[i] = 1 + 4<<(c-msgpcode.Float)
		case c >= msgpcode.Uint8 && c <= msgpcode.Uint64:
			lengths[i] = 1 + 1<<(c-msgpcode.Uint8)
		case c >= msgpcode.Int8 && c <= msgpcode.Int64:
			lengths[i] = 1 + 1<<(c-msgpcode.Int8)
		}
	}
	return lengths
}()

// value goes past one value.
func (s *scanned) value(depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	if s.pos == len(s.data) {
		return errShort
	}
	c := s.data[s.pos]
	if n := int(scalars[c]); n > 0 {
		if n > len(s.data)-s.pos {
			return errShort
		}
		s.pos += n
		return nil
	}
	s.pos++
	var err error
	bytes, items := 0, 0
	switch {
	case msgpcode.IsFixedArray(c):
		items = int(c & msgpcode.FixedArrayMask)
	case msgpcode.IsFixedMap(c):
		items = 2 * int(c&msgpcode.FixedMapMask)
	case c >= msgpcode.Bin8 && c <= msgpcode.Bin32:
		bytes, err = s.length(1 << (c - msgpcode.Bin8))
	case c >= msgpcode.Ext8 && c <= msgpcode.Ext32:
		if bytes, err = s.length(1 << (c - msgpcode.Ext8)); err == nil {
			bytes, err = s.ext(bytes)
		}
	case c >= msgpcode.FixExt1 && c <= msgpcode.FixExt16:
		bytes, err = s.ext(1 << (c - msgpcode.FixExt1))
	case c >= msgpcode.Str8 && c <= msgpcode.Str32:
		bytes, err = s.length(1 << (c - msgpcode.Str8))
	case c == msgpcode.Array16, c == msgpcode.Array32:
		items, err = s.length(2 << (c - msgpcode.Array16))
	case c == msgpcode.Map16, c == msgpcode.Map32:
		items, err = s.length(2 << (c - msgpcode.Map16))
		items *= 2
	default:
		err = fmt.Errorf("there is no code %#02x", c)
	}
	if err != nil {
		return err
	}
	if left := len(s.data) - s.pos; bytes > left || items > left {
		return errShort
	}
	s.pos += bytes
	for range items {
		if err := s.value(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// length reads a length of size bytes. What it counts takes a byte each, at least.
func (s *scanned) length(size int) (int, error) {
	n := uint64(0)
	for range size {
		c, err := s.ReadByte()
		if err != nil {
			return 0, errShort
		}
		n = n<<8 | uint64(c)
	}
	if n > uint64(len(s.data)-s.pos) {
		return 0, errShort
	}
	return int(n), nil
}

// ext goes past the type of an extension and notes where the body begins.
func (s *scanned) ext(size int) (int, error) {
	if _, err := s.ReadByte(); err != nil {
		return 0, errShort
	}
	s.exts = append(s.exts, s.pos)
	return size, nil
}

func (s *scanned) Read(p []byte) (int, error) {
	n := copy(p, s.data[s.pos:])
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	s.pos += n
	return n, nil
}

// ReadByte gives the next byte. Where a map is wanted, msgpack/v5 goes into the body of an extension, which may be
// anything, and takes it for the map's header. So a length there is checked here.
func (s *scanned) ReadByte() (byte, error) {
	if s.pos >= len(s.data) {
		return 0, io.EOF
	}
	c := s.data[s.pos]
	if c == msgpcode.Map16 || c == msgpcode.Map32 {
		if err := s.checkExt(c); err != nil {
			return 0, err
		}
	}
	s.pos++
	return c, nil
}

func (s *scanned) checkExt(c byte) error {
	for s.next < len(s.exts) && s.exts[s.next] < s.pos {
		s.next++
	}
	if s.next == len(s.exts) || s.exts[s.next] != s.pos {
		return nil
	}
	var n [4]byte // big endian
	copy(n[len(n)-2<<(c-msgpcode.Map16):], s.data[s.pos+1:])
	if int64(binary.BigEndian.Uint32(n[:])) > int64(len(s.data)-s.pos) {
		return errShort
	}
	return nil
}

func (s *scanned) UnreadByte() error {
	s.pos--
	return nil
}
