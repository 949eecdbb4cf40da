package cachify

import (
	"math/big"
	"net/netip"
	"reflect"
	"testing"
	"time"
)

type (
	printUser    struct{ ID, Age int }
	printRenamed struct{ ID, Age int }
	printTree    struct {
		Left, Right *printTree
		Leaves      []printLeaf
	}
	printLeaf    struct{ Tree map[string]printTree }
	printOther   struct{ Tree map[string]*printTree }
	printPrivate struct {
		ID, Age int
		//lint:ignore U1000 read by reflection
		cache map[string]int `msgpack:"-"`
	}
	printOpaque  struct{ s string }
	printOpaque2 struct{ s string }
)

func (o printOpaque) MarshalText() ([]byte, error)  { return []byte(o.s), nil }
func (o printOpaque2) MarshalText() ([]byte, error) { return []byte(o.s), nil }

func TestFingerprintsDiffer(t *testing.T) {
	types := []reflect.Type{
		reflect.TypeFor[int](), reflect.TypeFor[int64](), reflect.TypeFor[uint](), reflect.TypeFor[string](), reflect.TypeFor[[]byte](),
		reflect.TypeFor[*int](), reflect.TypeFor[**int](), reflect.TypeFor[[]int](), reflect.TypeFor[[1]int](), reflect.TypeFor[[2]int](),
		reflect.TypeFor[map[int]string](), reflect.TypeFor[map[string]int](), reflect.TypeFor[any](), reflect.TypeFor[error](),
		reflect.TypeFor[printUser](), reflect.TypeFor[*printUser](), reflect.TypeFor[struct{ ID, Years int }](),
		reflect.TypeFor[struct {
			ID  int
			Age int64
		}](), reflect.TypeFor[struct{ Age, ID int }](),
		reflect.TypeFor[struct {
			ID  int
			Age int `msgpack:"a"`
		}](),
		reflect.TypeFor[struct {
			ID  int
			Age int `json:"a"`
		}](),
		reflect.TypeFor[struct {
			_msgpack struct{} `msgpack:",as_array"`
			ID, Age  int
		}](),
		reflect.TypeFor[struct{ PrintUser struct{ ID, Age int } }](), reflect.TypeFor[struct{ CodecEmbedded }](), reflect.TypeFor[struct{ CodecEmbedded CodecEmbedded }](),
		reflect.TypeFor[printTree](), reflect.TypeFor[printLeaf](), reflect.TypeFor[printOther](),
		reflect.TypeFor[time.Time](), reflect.TypeFor[netip.Addr](), reflect.TypeFor[big.Int](), reflect.TypeFor[printOpaque](), reflect.TypeFor[printOpaque2](),
		reflect.TypeFor[struct{}](), reflect.TypeFor[[]struct{}](), reflect.TypeFor[struct{ A, B []int }](), reflect.TypeFor[struct {
			A []int
			B []string
		}](),
	}
	seen := map[uint64]string{}
	for _, typ := range types {
		for _, codec := range []string{"msgpack", "json"} {
			for _, template := range []string{"t-<id>", "t-<id>m"} {
				name := typ.String() + " " + codec + " " + template
				f := fingerprint(template, typ, codec)
				if other, ok := seen[f]; ok {
					t.Errorf("%s and %s are the same", name, other)
				}
				seen[f] = name
			}
		}
	}
	if fingerprint("ab", types[0], "c") == fingerprint("a", types[0], "bc") {
		t.Error("template and codec run into each other")
	}
}

func TestFingerprintsOfRenamedTypes(t *testing.T) {
	of := func(t reflect.Type) uint64 { return fingerprint("t", t, "msgpack") }
	want := of(reflect.TypeFor[printUser]())
	for _, typ := range []reflect.Type{
		reflect.TypeFor[printRenamed](), reflect.TypeFor[printPrivate](), reflect.TypeFor[struct{ ID, Age int }](),
		reflect.TypeFor[struct {
			ID  int `db:"id"`
			Age int
		}](),
	} {
		if of(typ) != want {
			t.Errorf("%s differs from printUser", typ)
		}
	}
}

// These are the same in all processes, on all platforms and in all releases: a change here is a miss for every entry
// that is stored.
func TestFingerprintsAreStable(t *testing.T) {
	for want, typ := range map[uint64]reflect.Type{
		0xd5a73ab151ab9c22: reflect.TypeFor[printTree](),
		0x86aba76c308ce3a7: reflect.TypeFor[struct {
			ID   int64
			At   *time.Time `msgpack:"at"`
			Tags map[string][]string
		}](),
	} {
		if got := fingerprint("read_user-<user_id>", typ, "msgpack"); got != want {
			t.Errorf("%s has %#x, not %#x", typ, got, want)
		}
	}
}
