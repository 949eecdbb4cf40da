package cachify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
	"pgregory.net/rapid"
)

func encrypting(t testing.TB, c Codec) Codec {
	t.Helper()
	e, err := Encrypt(c, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// roundTrip gives what comes back of v, which is a pointer.
func roundTrip(t rapid.TB, c Codec, v any) any {
	t.Helper()
	if err := checkValueType(reflect.TypeOf(v).Elem(), c); err != nil {
		t.Fatalf("%T is refused: %v", v, err)
	}
	data, err := c.Append([]byte("before"), "key", v)
	if err != nil {
		t.Fatalf("encoding %T: %v", v, err)
	}
	data, ok := bytes.CutPrefix(data, []byte("before"))
	if !ok {
		t.Fatalf("%s overwrote what was in the buffer", c.Name())
	}
	original := bytes.Clone(data)
	got := reflect.New(reflect.TypeOf(v).Elem())
	if err := c.Decode(data, "key", got.Interface()); err != nil {
		t.Fatalf("decoding %T: %v\n%x", v, err, data)
	}
	if !bytes.Equal(data, original) {
		t.Fatalf("%s changed the data", c.Name())
	}
	clear(data) // nothing that came back may live in it
	return got.Interface()
}

func expectRoundTrip(t rapid.TB, c Codec, v any) {
	t.Helper()
	if d := differs(reflect.ValueOf(roundTrip(t, c, v)), reflect.ValueOf(v)); d != "" {
		t.Errorf("%s: %T%.2000s", c.Name(), v, d)
	}
}

// differs gives the path of the first place where a and b differ, or nothing. It is [reflect.DeepEqual], except that
// two locations that say the same are the same.
func differs(a, b reflect.Value) string {
	if reflect.DeepEqual(a.Interface(), b.Interface()) {
		return ""
	}
	at, ok := a.Interface().(time.Time)
	switch {
	case ok:
		if sameTime(at, b.Interface().(time.Time)) {
			return ""
		}
	case a.Kind() == reflect.Pointer && !a.IsNil() && !b.IsNil():
		return differs(a.Elem(), b.Elem())
	case a.Kind() == reflect.Struct:
		rest := reflect.New(a.Type()).Elem() // b, but for the exported fields
		rest.Set(b)
		for i := range a.NumField() {
			if !a.Type().Field(i).IsExported() {
				continue
			}
			if d := differs(a.Field(i), b.Field(i)); d != "" {
				return "." + a.Type().Field(i).Name + d
			}
			rest.Field(i).Set(a.Field(i))
		}
		if reflect.DeepEqual(a.Interface(), rest.Interface()) {
			return ""
		}
	case a.Kind() == reflect.Slice && a.Len() == b.Len() && a.IsNil() == b.IsNil(), a.Kind() == reflect.Array:
		for i := range a.Len() {
			if d := differs(a.Index(i), b.Index(i)); d != "" {
				return fmt.Sprint("[", i, "]", d)
			}
		}
		return ""
	case a.Kind() == reflect.Map && a.Len() == b.Len() && a.IsNil() == b.IsNil():
		for _, ak := range a.MapKeys() {
			d := " has no match"
			for _, bk := range b.MapKeys() {
				if differs(ak, bk) == "" {
					d = differs(a.MapIndex(ak), b.MapIndex(bk))
				}
			}
			if d != "" {
				return fmt.Sprintf("[%v]%s", ak, d)
			}
		}
		return ""
	}
	return fmt.Sprintf(" is %#v, not %#v", a, b)
}

func ptr[T any](v T) *T { return &v }

func sameTime(a, b time.Time) bool {
	an, ao := a.Zone()
	bn, bo := b.Zone()
	return a.Equal(b) && an == bn && ao == bo && a.Location().String() == b.Location().String()
}

type (
	codecLevel  uint8
	codecNames  []string
	codecPoint  struct{ X, Y int }
	codecBase   struct{ ID, Version int }
	codecHidden struct {
		ID string // hides codecBase.ID, but comes first, so msgpack/v5 keeps both
		codecBase
	}
	codecHiding struct {
		codecBase `msgpack:",noinline"`
		ID        string
	}
	CodecEmbedded struct{ A, B string }
	codecEmbedder struct {
		*CodecEmbedded `msgpack:",noinline"`
		CodecNested
	}
	CodecNested struct{ Deep map[string][]codecPoint }
	codecTree   struct {
		Name     string
		Children []*codecTree
		Parent   map[string]codecTree
	}
	codecArray struct {
		//lint:ignore U1000 read by reflection
		_msgpack struct{} `msgpack:",as_array"`
		A        int
		B        *string
	}
	codecTagged struct {
		Renamed string         `msgpack:"r" json:"r"`
		Omitted *int           `msgpack:",omitempty" json:",omitempty"`
		Skipped int            `msgpack:"-" json:"-"`
		Left    chan int       `msgpack:"-" json:"-"`
		lost    map[string]int `cachify:"-"`
		_       int
	}
	codecUser struct {
		ID      int64
		Name    string
		Email   *string
		Tags    []string
		Scores  map[string]float64
		Blob    []byte
		Sum     [16]byte
		Level   codecLevel
		Ratio   float32
		Timeout time.Duration
		Address netip.Addr
	}
)

// codecOpaque marshals itself, as text, and is nothing to others.
type codecOpaque struct{ secret string }

func (o codecOpaque) MarshalText() ([]byte, error) { return []byte(o.secret), nil }
func (o *codecOpaque) UnmarshalText(b []byte) error {
	o.secret = string(b)
	return nil
}

// codecCustom writes two values to msgpack's encoder.
type codecCustom struct{ a, b int }

func (c *codecCustom) EncodeMsgpack(e *msgpack.Encoder) error { return e.EncodeMulti(c.a, c.b) }
func (c *codecCustom) DecodeMsgpack(d *msgpack.Decoder) error { return d.DecodeMulti(&c.a, &c.b) }

func TestMsgPackRoundTrip(t *testing.T) {
	user := codecUser{
		ID: math.MaxInt64, Name: "Ann", Email: ptr(""), Tags: []string{}, Scores: map[string]float64{"a": math.Inf(1)},
		Blob: []byte{}, Sum: [16]byte{15: 1}, Level: 255, Ratio: math.MaxFloat32, Timeout: -time.Second,
		Address: netip.MustParseAddr("fe80::1%eth0"),
	}
	values := []any{
		ptr(true), ptr(0), ptr(math.MinInt), ptr(int8(-128)), ptr(int16(-32768)), ptr(int32(math.MinInt32)), ptr(int64(math.MinInt64)),
		ptr(uint(math.MaxUint)), ptr(uint8(255)), ptr(uint16(65535)), ptr(uint32(math.MaxUint32)), ptr(uint64(math.MaxUint64)),
		ptr(float32(0.1)), ptr(0.1), ptr(math.Copysign(0, -1)), ptr(""), ptr("\xff\x00ä"), ptr(codecLevel(3)), ptr(time.Hour),
		ptr([]byte(nil)), ptr([]byte{}), ptr([]byte("x")), ptr([]int(nil)), ptr([]int{}), ptr([]*int{nil, ptr(0)}),
		ptr([]string(nil)), ptr([]string{}), ptr(codecNames(nil)), ptr(codecNames{""}), ptr([]codecLevel{0, 1}), ptr([]codecLevel(nil)),
		ptr(map[string]string(nil)), ptr(map[string]string{}), ptr(map[string]string{"a": ""}), ptr(map[string]bool{"t": true}),
		ptr(map[int8]map[string][]byte{-1: nil, 1: {}, 2: {"x": {}}}), ptr(map[codecPoint][2]bool{{1, 2}: {true, false}}),
		ptr(map[float64]string{1.5: "x"}), ptr(map[[2]string]int{{"a", "b"}: 1}), ptr(map[bool]*codecPoint{true: nil, false: {}}),
		ptr((*int)(nil)), ptr(ptr(0)), ptr((*codecUser)(nil)), ptr(&user), ptr(struct{}{}), ptr([0]int{}), ptr([3]codecPoint{1: {1, 2}}),
		ptr([]struct{}{{}, {}}), &user, &codecUser{},
		&codecHidden{"a", codecBase{1, 2}}, &codecHiding{codecBase{1, 2}, "a"},
		&codecEmbedder{}, &codecEmbedder{&CodecEmbedded{}, CodecNested{map[string][]codecPoint{"x": {{1, 2}}, "y": nil}}},
		&codecTree{Name: "r", Children: []*codecTree{{Name: "c"}, nil}, Parent: map[string]codecTree{"p": {Children: []*codecTree{}}}},
		&codecArray{A: 1}, &codecArray{A: 1, B: ptr("")}, &codecTagged{Renamed: "x", Omitted: ptr(0)}, &codecTagged{lost: nil},
		&codecOpaque{"x"}, ptr([]codecOpaque{{""}, {"y"}}), ptr(map[codecOpaque]codecOpaque{{"k"}: {"v"}}), ptr((*codecOpaque)(nil)),
		&codecCustom{1, -2}, ptr([]codecCustom{{1, 2}, {3, 4}}), ptr(map[string]*codecCustom{"a": {5, 6}, "n": nil}),
		big.NewInt(-1), ptr(map[string]*big.Int{"x": new(big.Int).Lsh(big.NewInt(1), 200)}),
		ptr(net.IPv4(1, 2, 3, 4)), ptr(net.IP(nil)), &url.URL{Scheme: "https", Host: "example.org", Path: "/a b"},
		ptr(strings.Repeat("x", 70_000)), ptr(bytes.Repeat([]byte("x"), 70_000)), ptr(make([]int, 70_000)),
		ptr(any(nil)), ptr(any("x")), ptr([]any{nil, true, int8(1), int64(math.MaxInt64), uint64(1), float32(1), 1.5, "s", []byte("b"), []any{}, map[string]any{"k": []any{}}}),
		ptr(map[string]any(nil)), ptr(map[string]any{}),
	}
	for _, c := range []Codec{MsgPack(), Compress(MsgPack()), encrypting(t, MsgPack())} {
		for _, v := range values {
			expectRoundTrip(t, c, v)
		}
	}
}

func TestJSONRoundTrip(t *testing.T) {
	values := []any{
		ptr(0), ptr(int64(math.MaxInt64)), ptr("<&>\u2028"), ptr([]byte(nil)), ptr([]byte{}), ptr([]int(nil)), ptr([]int{}),
		ptr(map[string]int(nil)), ptr(map[string]int{}), ptr(map[int]string{-1: "x"}), ptr((*int)(nil)), ptr(ptr(1)), ptr(struct{}{}),
		&codecUser{Name: "Ann", Email: ptr(""), Tags: []string{}, Scores: map[string]float64{"a": 1.5}, Blob: []byte("x")}, &codecUser{},
		&codecTagged{Renamed: "x", Omitted: ptr(0)}, ptr(map[codecOpaque]codecOpaque{{"k"}: {"v"}}), &codecOpaque{"x"},
		ptr(any(nil)), ptr(any(1.5)), ptr([]any{"x", true, nil, map[string]any{}}),
		ptr(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)), ptr(map[string]*big.Int{"x": big.NewInt(7)}),
		&struct {
			codecBase
			CodecNested `json:"nested"`
		}{codecBase{1, 2}, CodecNested{map[string][]codecPoint{"x": {}}}},
		ptr(strings.Repeat("x", 70_000)),
	}
	for _, c := range []Codec{JSON(), Compress(JSON()), encrypting(t, Compress(JSON()))} {
		for _, v := range values {
			expectRoundTrip(t, c, v)
		}
	}
	data, err := JSON().Append(nil, "", &codecPoint{1, 2})
	if err != nil || string(data) != `{"X":1,"Y":2}` {
		t.Errorf("JSON writes %q, %v", data, err)
	}
}

// codecRecord has most of what there is, for generated values.
type codecRecord struct {
	codecBase
	Bool    bool
	I8      int8
	U64     uint64
	F32     float32
	F64     float64
	S       codecNames
	Bytes   []byte
	Array   [4]uint16
	Ints    map[int16]*int64
	Nested  map[string]map[string][]string
	Structs []codecPoint
	Ptr     *codecRecord
	Next    []*codecRecord
	At      time.Time
	Times   map[string][]*time.Time
	Opaque  codecOpaque
	Keyed   map[time.Duration]struct{ At *time.Time }
}

func generatedTime(t *rapid.T) time.Time {
	zones := map[string]*time.Location{"UTC": time.UTC, "": time.FixedZone("", 3600), "XYZ": time.FixedZone("XYZ", -12_345)}
	zone := rapid.SampledFrom([]string{"UTC", "", "XYZ", "Local", "America/New_York", "Asia/Kolkata", "CET"}).Draw(t, "zone")
	loc, ok := zones[zone]
	if !ok {
		loc = locationNamed(zone)
	}
	sec := rapid.Int64Range(-62_135_596_800, 253_402_300_799).Draw(t, "sec") // years 1 to 9999
	return time.Unix(sec, rapid.Int64Range(0, 999_999_999).Draw(t, "nsec")).In(loc)
}

func generatedRecord(t *rapid.T, depth int) codecRecord {
	r := codecRecord{
		codecBase: codecBase{rapid.Int().Draw(t, "id"), rapid.Int().Draw(t, "version")},
		Bool:      rapid.Bool().Draw(t, "bool"), I8: rapid.Int8().Draw(t, "i8"), U64: rapid.Uint64().Draw(t, "u64"),
		F32: rapid.Float32().Draw(t, "f32"), F64: rapid.Float64().Draw(t, "f64"),
		S:       rapid.SliceOf(rapid.String()).Draw(t, "s"),
		Bytes:   rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
		Ints:    rapid.MapOf(rapid.Int16(), rapid.Ptr(rapid.Int64(), true)).Draw(t, "ints"),
		Nested:  rapid.MapOfN(rapid.String(), rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.String(), 0, 2), 0, 3), 0, 3).Draw(t, "nested"),
		Structs: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) codecPoint { return codecPoint{X: rapid.Int().Draw(t, "x")} }), 0, 3).Draw(t, "structs"),
		At:      generatedTime(t),
		Times:   rapid.MapOfN(rapid.String(), rapid.SliceOfN(rapid.Ptr(rapid.Custom(generatedTime), true), 0, 3), 0, 3).Draw(t, "times"),
		Opaque:  codecOpaque{rapid.String().Draw(t, "opaque")},
		Keyed:   map[time.Duration]struct{ At *time.Time }{1: {ptr(generatedTime(t))}, 2: {}},
	}
	for i := range r.Array {
		r.Array[i] = rapid.Uint16().Draw(t, "array")
	}
	if depth > 0 && rapid.Bool().Draw(t, "child") {
		r.Ptr, r.Next = ptr(generatedRecord(t, depth-1)), []*codecRecord{nil, ptr(generatedRecord(t, depth-1))}
	}
	return r
}

func TestGeneratedRoundTrip(t *testing.T) {
	codecs := []Codec{MsgPack(), Compress(MsgPack()), encrypting(t, Compress(MsgPack()))}
	rapid.Check(t, func(rt *rapid.T) {
		r := generatedRecord(rt, 2)
		for _, c := range codecs {
			expectRoundTrip(rt, c, &r)
		}
	})
}

type codecFailing struct{ Fail string }

func (c codecFailing) do() error {
	switch c.Fail {
	case "panic":
		panic("boom")
	case "nil":
		return error((*codecFailure)(nil)) // a nil dereference in Error
	case "error":
		return errCodec
	}
	return nil
}

type codecFailure struct{ text string }

func (f *codecFailure) Error() string { return f.text }

var errCodec = errors.New("no good")

func (c codecFailing) MarshalText() ([]byte, error) { return []byte(c.Fail), c.do() }
func (c *codecFailing) UnmarshalText(b []byte) error {
	c.Fail, _ = strings.CutPrefix(string(b), "un")
	return c.do()
}

func TestMarshalersThatFail(t *testing.T) {
	for _, c := range []Codec{MsgPack(), JSON(), Compress(JSON()), encrypting(t, MsgPack())} {
		for _, fail := range []string{"panic", "error", "nil"} {
			v := []codecFailing{{fail}}
			if data, err := c.Append(nil, "k", &v); err == nil || data != nil || !strings.HasPrefix(err.Error(), "cachify: ") {
				t.Errorf("%s: encoding with %s gives %x, %v", c.Name(), fail, data, err)
			} else if fail == "error" && !errors.Is(err, errCodec) {
				t.Errorf("%s: %v does not wrap its cause", c.Name(), err)
			}
			v = []codecFailing{{"un" + fail}}
			data, err := c.Append(nil, "k", &v)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Decode(data, "k", new([]codecFailing)); err == nil || !strings.HasPrefix(err.Error(), "cachify: ") {
				t.Errorf("%s: decoding with %s gives %v", c.Name(), fail, err)
			} else if fail == "error" && !errors.Is(err, errCodec) {
				t.Errorf("%s: %v does not wrap its cause", c.Name(), err)
			}
		}
		expectRoundTrip(t, c, &[]codecFailing{{"ok"}})
	}
}

func TestDecodeRefuses(t *testing.T) {
	whole, err := MsgPack().Append(nil, "", &codecUser{Name: "Ann", Tags: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(whole) {
		if err := MsgPack().Decode(whole[:n], "", new(codecUser)); err == nil {
			t.Fatalf("the first %d of %d bytes are decoded", n, len(whole))
		}
	}
	if err := MsgPack().Decode([]byte(strings.Repeat("\x91", maxDepth)+"\xc0"), "", new(any)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for name, data := range map[string]string{
		"another byte":     string(whole) + "\xc0",
		"another value":    string(whole) + string(whole),
		"text":             "hello",
		"code never used":  "\xc1",
		"length of 4 GiB":  "\xdf\xff\xff\xff\xff",
		"too deep":         strings.Repeat("\x91", maxDepth+2) + "\xc0",
		"map in extension": "\xd6\x01\xdf\xff\xff\xff" + strings.Repeat("\xc0", 9),
	} {
		for _, v := range []any{new(codecUser), new(map[string]any), new(map[string]string), new([]int), new(any)} {
			if err := MsgPack().Decode([]byte(data), "", v); err == nil || !strings.HasPrefix(err.Error(), "cachify: ") {
				t.Errorf("%s as %T: %v", name, v, err)
			}
		}
	}
	for _, c := range []Codec{MsgPack(), JSON()} {
		for _, v := range []any{nil, 1, (*int)(nil), codecPoint{}} {
			if err := c.Decode([]byte{0x31}, "", v); err == nil {
				t.Errorf("%s decodes into %T", c.Name(), v)
			}
		}
	}
}

func TestCyclicValue(t *testing.T) {
	tree := &codecTree{}
	tree.Children = []*codecTree{tree}
	general := map[string]any{}
	general["self"] = general
	var list any
	for range 2 * maxDepth {
		list = []any{list}
	}
	for _, v := range []any{tree, &general, &list} {
		for _, c := range []Codec{MsgPack(), JSON()} {
			if _, err := c.Append(nil, "", v); err == nil && c == MsgPack() || err != nil && !strings.HasPrefix(err.Error(), "cachify: ") {
				t.Errorf("%s: %T: %v", c.Name(), v, err)
			}
		}
	}
	long := &codecTree{}
	for range maxDepth/4 - 1 {
		long = &codecTree{Children: []*codecTree{long}}
	}
	expectRoundTrip(t, MsgPack(), long)
}

// What does not come back as it was is written down, in docs/wire-format.md.
func TestMsgPackChanges(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("XYZ", 4711))
	for _, tt := range []struct{ in, out any }{
		{ptr(any(5)), ptr(any(int8(5)))},
		{ptr(any(codecPoint{1, 2})), ptr(any(map[string]any{"X": int8(1), "Y": int8(2)}))},
		{ptr(any(at)), ptr(any(at.Local()))},
		{ptr(any(codecLevel(5))), ptr(any(uint8(5)))},
		{ptr(error(&codecFailure{"broken"})), ptr(errors.New("broken"))},
		{&struct {
			A []int `msgpack:",omitempty"`
		}{[]int{}}, &struct {
			A []int `msgpack:",omitempty"`
		}{}},
	} {
		if got := roundTrip(t, MsgPack(), tt.in); !reflect.DeepEqual(got, tt.out) {
			t.Errorf("%#v comes back as %#v, not %#v", reflect.ValueOf(tt.in).Elem(), reflect.ValueOf(got).Elem(), reflect.ValueOf(tt.out).Elem())
		}
	}
}

func TestCodecNames(t *testing.T) {
	for want, c := range map[string]Codec{
		"msgpack": MsgPack(), "json": JSON(), "deflate+json": Compress(JSON()), "deflate+msgpack": Compress(nil),
		"aes-gcm+deflate+msgpack": encrypting(t, Compress(Compress(nil))), "deflate+aes-gcm+msgpack": Compress(encrypting(t, nil)),
	} {
		if c.Name() != want {
			t.Errorf("%q is called %q", want, c.Name())
		}
	}
}

func TestCodecsAreConcurrent(t *testing.T) {
	for _, c := range []Codec{MsgPack(), JSON(), Compress(nil), encrypting(t, Compress(JSON()))} {
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				for n := range 200 {
					key := fmt.Sprint(i, n)
					v := map[string]string{"k": strings.Repeat(key, n)}
					data, err := c.Append(nil, key, &v)
					var got map[string]string
					if err == nil {
						err = c.Decode(data, key, &got)
					}
					if err != nil || !reflect.DeepEqual(v, got) {
						t.Errorf("%s: %v", c.Name(), err)
					}
				}
			})
		}
		wg.Wait()
	}
}
