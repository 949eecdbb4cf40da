package cachify

import (
	"bytes"
	"math/big"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// allocated gives the bytes that f allocates, and others at the same time.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// What a decoder may allocate: so many bytes for a byte of input, and so many for its tools.
const (
	fuzzFactor = 400
	fuzzTools  = 128 << 10
)

func expectBounded(t *testing.T, what string, data []byte, factor int, decode func()) {
	t.Helper()
	limit := uint64(factor*len(data) + fuzzTools)
	for range 3 { // once is enough unless others allocate
		if allocated(decode) <= limit {
			return
		}
	}
	t.Errorf("%s allocates more than %d bytes for %d: %.200x", what, limit, len(data), data)
}

// fuzzTypes gives new values of the types that are decoded.
func fuzzTypes() []any {
	return []any{
		new(codecUser), new(codecRecord), new(codecTree), new(codecArray), new(any), new(map[string]any), new([]any), new(map[string]string),
		new([]string), new([]byte), new(string), new(time.Time), new([]time.Time), new(map[time.Time]string), new(map[string][]*time.Time),
		new(codecCustom), new([]big.Int), new(map[any]any), new(map[uint64]struct{}), new([]map[string]map[string]any), new([16]byte), new(error),
	}
}

func FuzzMsgPackDecode(f *testing.F) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("CET", 3600))
	for _, v := range []any{
		&codecUser{Name: "Ann", Tags: []string{"a"}}, &codecRecord{At: at, Times: map[string][]*time.Time{"x": {&at, nil}}}, &codecTree{Children: []*codecTree{{}}},
		ptr(map[time.Time]string{at: "x"}), ptr([]any{1, "x", at, nil, map[string]any{"a": []any{}}}), &codecCustom{1, 2}, ptr(map[uint64]struct{}{1: {}}),
	} {
		data, err := MsgPack().Append(nil, "", v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, s := range []string{"\xdf\xff\xff\xff\xff", "\xdd\xff\xff\xff\xff", "\xc6\xff\xff\xff\xff", "\xd4\x01\xdf\x7f\xff\xff\xff", "\xc7\x05\xff\xdf\x00\xff\xff\xff", strings.Repeat("\x91", 2000), strings.Repeat("\x81\xa0", 2000)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		original := bytes.Clone(data)
		for _, v := range fuzzTypes() {
			expectBounded(t, reflect.TypeOf(v).String(), data, fuzzFactor, func() {
				if err := MsgPack().Decode(data, "", v); err != nil && !strings.HasPrefix(err.Error(), "cachify: ") {
					t.Error(err)
				}
			})
		}
		if !bytes.Equal(data, original) {
			t.Error("the data was changed")
		}
	})
}

func FuzzJSONDecode(f *testing.F) {
	f.Add([]byte(`{"ID":1,"Name":"Ann","Tags":["a"],"Blob":"eA==","Scores":{"a":1.5}}`))
	f.Add([]byte(strings.Repeat("[", 10_001)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, v := range []any{new(codecUser), new(codecTree), new(any), new([]map[string]any), new(time.Time), new(big.Int)} {
			expectBounded(t, reflect.TypeOf(v).String(), data, fuzzFactor, func() { _ = JSON().Decode(data, "", v) })
		}
	})
}

func FuzzCompressDecode(f *testing.F) {
	plain, err := MsgPack().Append(nil, "", &codecUser{Name: strings.Repeat("x", 2000)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(deflated(uint64(len(plain)), plain))
	f.Add(deflated(1<<20, plain))
	f.Add(append([]byte{markPlain}, plain...))
	c := Compress(MsgPack())
	f.Fuzz(func(t *testing.T, data []byte) {
		// What comes out of the stream is input to the codec inside, and may be 1,032 times as long.
		expectBounded(t, "Compress", data, 4*maxRatio, func() { _ = c.Decode(data, "", new(codecUser)) })
	})
}

func FuzzEncryptDecode(f *testing.F) {
	c := encrypting(f, MsgPack())
	data, err := c.Append(nil, "key", &codecUser{Name: "Ann"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "key")
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		expectBounded(t, "Encrypt", data, fuzzFactor, func() {
			if c.Decode(data, key, new(codecUser)) == nil && c.Decode(data, key+"x", new(codecUser)) == nil {
				t.Errorf("%x is decoded for two keys", data)
			}
		})
	})
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add(exampleEnvelope().bytes(), false)
	f.Add(exampleEnvelope().bytes(), true)
	f.Fuzz(func(t *testing.T, data []byte, repair bool) {
		if repair && len(data) >= headerSize {
			data = seal2(bytes.Clone(data))
		}
		var e envelope
		var ok bool
		expectBounded(t, "parseEnvelope", data, 20, func() { e, ok = parseEnvelope(data) })
		if !ok {
			return
		}
		again := e.bytes()
		if got, ok := parseEnvelope(again); !ok || !reflect.DeepEqual(got, e) || !bytes.HasPrefix(data, e.head()) {
			t.Errorf("%x is read as %+v, and that as %+v", data, e, got)
		}
	})
}
