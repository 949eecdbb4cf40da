package cachify

import "fmt"

// A Codec turns values into bytes and back. [MsgPack] and [JSON] are the two that come with cachify; [Compress] and
// [Encrypt] wrap any other. A codec is safe for concurrent use.
type Codec interface {
	// Name says how the bytes are to be read. It is part of an entry's fingerprint, so entries of a codec with
	// another name are misses. Change it with the format. Wrappers give their own name and their codec's, as
	// in "deflate+msgpack".
	Name() string

	// Append appends the encoding of the value that v points to, and returns the extended buffer. key is the
	// key the value is stored under. After an error the buffer's new part is of no use.
	Append(dst []byte, key string, v any) ([]byte, error)

	// Decode sets the value that v points to, which is its type's zero value before. All of data must be the
	// value's encoding. Decode neither changes data nor keeps a reference to it. It takes bytes from a place that
	// others write to: no input may make it panic or allocate out of proportion to its length. After an error
	// the value is undefined.
	Decode(data []byte, key string, v any) error
}

// recovered turns a panic, of a type's own methods for encoding and decoding, into an error.
func recovered(err *error, doing string, v any) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("cachify: %s %T panicked: %v", doing, v, r)
	}
}
