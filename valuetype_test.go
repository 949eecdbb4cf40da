package cachify

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/vmihailenco/msgpack/v5"
)

type (
	typeCounter struct {
		Hits int
		//lint:ignore U1000 read by reflection
		mu sync.Mutex
	}
	typeHiding struct {
		codecBase // its ID would be lost
		ID        int
	}
	TypeOuter struct {
		TypeOuterName
		B int
	}
	TypeOuterName struct{ TypeOuterName string } // a field called like its struct
	typeTwice     struct {
		A int `msgpack:"x"`
		B int `msgpack:"x"`
	}
	typeAliased struct {
		A int `msgpack:"a,alias:B"`
		B int
	}
	typeStamped struct { // has MarshalBinary and MarshalJSON from Time
		time.Time
		Note string
	}
	typeStampedOnly struct{ time.Time }
	typeOverridden  struct {
		time.Time
		Note string
	}
	typeWriteOnly  struct{ A int }
	typeReadOnly   struct{ A int }
	typePtrMethods struct{ secret string }
	typeMixed      struct{ A int }
	typeLoop       *typeLoop
	typeEmbedsSelf struct{ *typeEmbedsSelf }
	typeMyTime     time.Time
	typeMyByte     byte
	typeUnexported int
)

func (o typeOverridden) MarshalText() ([]byte, error) {
	return []byte(o.Time.Format(time.RFC3339Nano) + "|" + o.Note), nil
}
func (o *typeOverridden) UnmarshalText(b []byte) (err error) {
	at, note, _ := strings.Cut(string(b), "|")
	o.Note = note
	o.Time, err = time.Parse(time.RFC3339Nano, at)
	return err
}
func (o typeOverridden) MarshalBinary() ([]byte, error)  { return o.MarshalText() }
func (o *typeOverridden) UnmarshalBinary(b []byte) error { return o.UnmarshalText(b) }
func (o typeOverridden) MarshalJSON() ([]byte, error)    { return json.Marshal(o.Note) }
func (o *typeOverridden) UnmarshalJSON(b []byte) error   { return json.Unmarshal(b, &o.Note) }
func (typeWriteOnly) MarshalText() ([]byte, error)       { return nil, nil }
func (*typeReadOnly) UnmarshalText([]byte) error         { return nil }
func (p *typePtrMethods) MarshalText() ([]byte, error)   { return []byte(p.secret), nil }
func (p *typePtrMethods) UnmarshalText(b []byte) error   { p.secret = string(b); return nil }
func (typeMixed) MarshalText() ([]byte, error)           { return nil, nil }
func (*typeMixed) UnmarshalText([]byte) error            { return nil }
func (*typeMixed) MarshalBinary() ([]byte, error)        { return nil, nil }
func (*typeMixed) UnmarshalBinary([]byte) error          { return nil }
func (typeMixed) MarshalJSON() ([]byte, error)           { return nil, nil }

func TestRefusedTypes(t *testing.T) {
	const both, onlyMsgPack, onlyJSON = "msgpack json", "msgpack", "json"
	for _, tt := range []struct {
		codecs string
		v      any
		want   string // in the message
	}{
		{both, *new(chan int), "a chan can't be encoded"},
		{both, *new(func()), "a func can't be encoded"},
		{both, *new(unsafe.Pointer), "can't be encoded"},
		{both, complex(1, 1), "a complex128 can't be encoded"},
		{onlyMsgPack, uintptr(1), "a uintptr can't be encoded"},
		{both, struct {
			A []map[string]*struct{ Deep chan int }
		}{}, ".A[][].Deep has type chan int"},
		{both, typeCounter{}, "typeCounter.mu is not exported"},
		{both, []map[string]typeCounter{}, "[][].mu is not exported"},
		{both, struct{ DB *sql.DB }{}, ".DB."},
		{both, struct{ S fmt.Stringer }{}, "interface type fmt.Stringer"},
		{onlyJSON, struct{ Err error }{}, "interface type error"},
		{both, typeHiding{}, `both named "ID"`},
		{onlyMsgPack, TypeOuter{}, `both named "TypeOuterName"`},
		{onlyMsgPack, typeTwice{}, `both named "x"`},
		{onlyMsgPack, typeAliased{}, `both named "B"`},
		{both, typeStamped{}, "marshals itself by a method of an embedded field"},
		{both, map[string][]typeStamped{}, "marshals itself by a method of an embedded field"},
		{both, typeWriteOnly{}, "no pair"},
		{both, typeReadOnly{}, "no pair"},
		{both, typeMixed{}, "no pair"},
		{both, map[string]typePtrMethods{}, "map to pointers"},
		{both, map[string]struct{ N [2]big.Int }{}, "map to pointers"},
		{both, map[typePtrMethods]int{}, ""},
		{onlyJSON, map[codecPoint]int{}, "can't be the key of a map in JSON"},
		{onlyJSON, map[float64]int{}, "can't be the key of a map in JSON"},
		{both, new(*int), "pointer to nil would come back as nil"},
		{both, struct{ A *[]int }{}, "use []int"},
		{both, struct{ A *any }{}, "pointer to nil"},
		{both, typeLoop(nil), "pointer to nil"},
		{onlyMsgPack, struct{ *CodecEmbedded }{}, ",noinline"},
		{both, typeEmbedsSelf{}, "embedded pointer"},
		{both, struct{ *codecBase }{}, "embedded pointer"},
		{both, struct{ typeUnexported }{}, "not exported"},
		{both, typeMyTime{}, "wall is not exported"},
		{onlyMsgPack, map[string][3]typeMyByte{}, "[3]byte"},
		{onlyMsgPack, struct {
			A string `msgpack:",intern"`
		}{}, "intern"},
		{onlyMsgPack, struct {
			codecBase `msgpack:",inline"`
			ID        int
		}{}, `both named "ID"`},
		{onlyMsgPack, struct {
			ID        int
			codecBase `msgpack:",inline"`
		}{}, `both named "ID"`},
		{onlyMsgPack, struct {
			At time.Time `msgpack:",inline"`
		}{}, ""},
		{onlyMsgPack, struct {
			time.Time `msgpack:",inline"`
			Note      string
		}{}, ""},
		{onlyMsgPack, struct {
			codecOpaque
			typePtrMethods // both marshal themselves, so the struct does not
		}{}, "not exported"},
		{onlyJSON, struct {
			A int `cachify:"-"`
		}{}, "use `json:\"-\"`"},
	} {
		for _, c := range []Codec{MsgPack(), JSON()} {
			if !strings.Contains(tt.codecs, c.Name()) {
				continue
			}
			for _, c := range []Codec{c, Compress(c), encrypting(t, Compress(c))} {
				err := checkValueType(reflect.TypeOf(tt.v), c)
				if err == nil || !strings.HasPrefix(err.Error(), "cachify: ") || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: %T: %v does not say %q", c.Name(), tt.v, err, tt.want)
				}
			}
		}
	}
}

// What is accepted although it is near to something refused really round-trips.
func TestAcceptedTypes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	for _, v := range []any{
		&typeStampedOnly{at}, &typeOverridden{at, "note"}, ptr([]typePtrMethods{{"a"}}), ptr(map[string]*typePtrMethods{"a": {"b"}}),
		&sql.NullString{String: "x", Valid: true}, &sql.NullTime{Time: at, Valid: true}, &sql.Null[int64]{V: 1, Valid: true},
		ptr(netip.MustParsePrefix("10.0.0.0/8")), &struct{ U *url.URL }{&url.URL{Host: "h"}}, ptr(time.March), ptr(json.Number("1")),
		&struct {
			codecBase
			CodecEmbedded
			_ [0]func()
		}{codecBase{1, 2}, CodecEmbedded{"a", "b"}, [0]func(){}},
		&struct {
			A int // before what it hides, so msgpack/v5 nests CodecEmbedded under its name
			CodecEmbedded
		}{3, CodecEmbedded{"a", "b"}},
	} {
		if err := checkValueType(reflect.TypeOf(v).Elem(), MsgPack()); err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		expectRoundTrip(t, MsgPack(), v)
	}
	for _, v := range []any{
		&typeStampedOnly{at}, ptr([]typePtrMethods{{"a"}}), ptr(map[string]*typePtrMethods{"a": {"b"}}),
		&sql.NullTime{Time: at, Valid: true}, ptr(netip.MustParsePrefix("10.0.0.0/8")), ptr(uintptr(1)), &struct{ *CodecEmbedded }{},
		&struct{ *CodecEmbedded }{&CodecEmbedded{}}, ptr(map[netip.Addr]int{netip.MustParseAddr("::1"): 1}),
	} {
		expectRoundTrip(t, JSON(), v)
	}
}

type typeForeignCodec struct{ Codec }

func TestForeignCodecsKnowTheirTypes(t *testing.T) {
	if err := checkValueType(reflect.TypeFor[typeCounter](), typeForeignCodec{MsgPack()}); err != nil {
		t.Error(err)
	}
}

// A type that msgpack/v5 was told to encode by Register keeps working, and is not touched by times of ours.
func TestRegistryIsLeftAlone(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, locationNamed("Asia/Kolkata"))
	before, err := msgpack.Marshal(at)
	if err != nil {
		t.Fatal(err)
	}
	expectRoundTrip(t, MsgPack(), &at)
	if after, _ := msgpack.Marshal(at); string(after) != string(before) {
		t.Errorf("msgpack.Marshal gives %x, and gave %x", after, before)
	}
}
