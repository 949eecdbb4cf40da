package cachify

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"
)

// JSON is a codec that uses encoding/json, its tags and its marshalers. Take it where others read the entries, or
// where a type carries itself in JSON alone. It keeps what encoding/json keeps: a time keeps its offset but not its
// zone's name, a number in an interface comes back as a float64, bytes of a string that are not UTF-8 are replaced.
// Types of which encoding/json would silently lose a field, or that it could not read again, are an error of
// the constructor.
func JSON() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) Name() string { return "json" }

// A jsonEncoder appends what its Encoder writes to b.
type jsonEncoder struct {
	b []byte
	*json.Encoder
}

func (e *jsonEncoder) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	return len(p), nil
}

var jsonEncoders = sync.Pool{New: func() any {
	e := new(jsonEncoder)
	e.Encoder = json.NewEncoder(e)
	e.SetEscapeHTML(false)
	return e
}}

func (jsonCodec) Append(dst []byte, _ string, v any) (b []byte, err error) {
	defer recovered(&err, "encoding", v)
	e := jsonEncoders.Get().(*jsonEncoder)
	e.b = dst
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("cachify: encoding %T: %w", v, err)
	}
	b, e.b = e.b[:len(e.b)-1], nil // without the newline
	jsonEncoders.Put(e)
	return b, nil
}

func (jsonCodec) Decode(data []byte, _ string, v any) (err error) {
	defer recovered(&err, "decoding", v)
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cachify: decoding %T: %w", v, err)
	}
	return nil
}

func (jsonCodec) checkType(t reflect.Type) error {
	c := jsonChecker{seen: map[typePlace]bool{}}
	if err := c.check(t, t.String(), true); err != nil {
		return fmt.Errorf("cachify: %s can't be cached: %w", t, err)
	}
	return nil
}
