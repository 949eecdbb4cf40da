package keytemplate

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// keyOf renders args without a prefix.
func keyOf[K any](t testing.TB, text string, args K) string {
	t.Helper()
	tpl, err := New[K](text)
	if err != nil {
		t.Fatal(err)
	}
	key, err := tpl.Render("", args)
	if err != nil {
		t.Fatalf("%q of %+v: %v", text, args, err)
	}
	return key
}

// keyCase makes a test case of any type of arguments.
func keyCase[K any](text string, args K, want string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		if key := keyOf(t, text, args); key != want {
			t.Errorf("%q of %+v: %q, want %q", text, args, key, want)
		}
	}
}

func runCases(t *testing.T, cases []func(*testing.T)) {
	t.Helper()
	for i, c := range cases {
		t.Run(fmt.Sprint(i), c)
	}
}

type (
	keyStatus string
	keyLevel  int8
	// keyWord has its text on the value, keyShout on the pointer.
	keyWord  struct{ w string }
	keyShout struct{ w string }
	keyWords []string
	keyDay   struct{ time.Time } // its MarshalText is promoted
	keyPage  struct {
		Skip, Limit int
		Sort        *string
		cursor      string
	}
)

func (keyStatus) String() string                 { return "never used" }
func (w keyWord) MarshalText() ([]byte, error)   { return []byte(w.w), nil }
func (w *keyShout) MarshalText() ([]byte, error) { return []byte(w.w + "!"), nil }
func (ws keyWords) MarshalText() ([]byte, error) { return []byte(strings.Join(ws, " ")), nil }

func TestTemplateKinds(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 30, 0, 500, time.FixedZone("east", 3600))
	runCases(t, []func(*testing.T){
		// Texts.
		keyCase("k-<x>", "ann", "k-ann"),
		keyCase("k-<x>", "", "k-"),
		keyCase("k-<x>", "a@b.c", "k-a@b.c"),
		keyCase("k-<x>", "550e8400-e29b-41d4-a716-446655440000", "k-550e8400-e29b-41d4-a716-446655440000"),
		keyCase("k-<x>", "/a/b?c=d&e=[f]#g", "k-/a/b?c=d&e=[f]#g"),
		keyCase("k-<x>", "Ann Lee\n", "k-Ann%20Lee%0A"),
		keyCase("k-<x>", "100%{x}\x00\x7f", "k-100%25%7Bx%7D%00%7F"),
		keyCase("k-<x>", "Zoë 東京\ufffd", "k-Zoë%20東京\ufffd"),
		keyCase("k-<x>", "\xff\u0085é", "k-%FF%C2%85é"),
		keyCase("k-<x>", "%nil", "k-%25nil"),
		keyCase("k-<x>", keyStatus("open"), "k-open"),
		keyCase("k-<x>", json.Number("1.50"), "k-1.50"),
		keyCase("k-<x>", []byte("ab\x00"), "k-ab%00"),
		keyCase("k-<x>", []byte{}, "k-"),
		keyCase("k-<x>", []byte(nil), "k-%nil"),
		keyCase("k-<x>", json.RawMessage(`[1]`), "k-[1]"),
		keyCase("k-<x>", [3]byte{0, 0xab, 'a'}, "k-00ab61"),
		keyCase("k-<x>", [0]byte{}, "k-"),
		// Numbers.
		keyCase("k-<x>", true, "k-true"),
		keyCase("k-<x>", -42, "k--42"),
		keyCase("k-<x>", keyLevel(-128), "k--128"),
		keyCase("k-<x>", int16(-300), "k--300"),
		keyCase("k-<x>", int32(math.MinInt32), "k--2147483648"),
		keyCase("k-<x>", int64(math.MinInt64), "k--9223372036854775808"),
		keyCase("k-<x>", uint8(255), "k-255"),
		keyCase("k-<x>", uint16(65535), "k-65535"),
		keyCase("k-<x>", uint32(math.MaxUint32), "k-4294967295"),
		keyCase("k-<x>", uint64(math.MaxUint64), "k-18446744073709551615"),
		keyCase("k-<x>", uint(7), "k-7"),
		keyCase("k-<x>", 1500*time.Millisecond, "k-1500000000"),
		keyCase("k-<x>", 0.1, "k-0.1"),
		keyCase("k-<x>", float32(0.1), "k-0.1"),
		keyCase("k-<x>", float64(float32(0.1)), "k-0.10000000149011612"),
		keyCase("k-<x>", 1e6, "k-1000000"),
		keyCase("k-<x>", 1e21, "k-1e+21"),
		keyCase("k-<x>", 1e-7, "k-1e-07"),
		keyCase("k-<x>", math.Copysign(0, -1), "k-0"),
		keyCase("k-<x>", math.Inf(-1), "k--Inf"),
		keyCase("k-<x>", math.Inf(1), "k-+Inf"),
		keyCase("k-<x>", complex(1, -2), "k-1-2i"),
		keyCase("k-<x>", complex64(complex(0, 1.5)), "k-0+1.5i"),
		keyCase("k-<x>", complex(math.Inf(1), math.Inf(1)), "k-+Inf+Infi"),
		keyCase("k-<x>", complex(math.Copysign(0, -1), math.Copysign(0, -1)), "k-0+0i"),
		// Times and types with a text.
		keyCase("k-<x>", at, "k-2026-11-21T11:30:00.0000005Z"),
		keyCase("k-<x>", time.Time{}, "k-0001-01-01T00:00:00Z"),
		keyCase("k-<x>", netip.MustParseAddr("::1"), "k-::1"),
		keyCase("k-<x>", net.IPv4(10, 0, 0, 1), "k-10.0.0.1"),
		keyCase("k-<x>", *big.NewInt(99), "k-99"),
		keyCase("k-<x>", big.NewInt(99), "k-99"),
		keyCase("k-<x>", (*big.Int)(nil), "k-%nil"),
		keyCase("k-<x>", keyWord{"a b"}, "k-a%20b"),
		keyCase("k-<x>", keyShout{"hey"}, "k-hey!"),
		keyCase("k-<x>", (*keyWord)(nil), "k-%nil"),
		keyCase("k-<x>", keyWords(nil), "k-%nil"),
		keyCase("k-<x>", keyWords{}, "k-"),
		keyCase("k-<time>", keyDay{at}, "k-2026-11-21T11:30:00.0000005Z"),
		// Pointers.
		keyCase("k-<x>", new("ann"), "k-ann"),
		keyCase("k-<x>", (*string)(nil), "k-%nil"),
		keyCase("k-<x>", new((*string)(nil)), "k-%*nil"),
		keyCase("k-<x>", new([]string(nil)), "k-%*nil"),
		keyCase("k-<x>", new(at), "k-2026-11-21T11:30:00.0000005Z"),
		// Lists, maps and structs.
		keyCase("k-<x>", []int{3, -1, 2}, "k-[3,-1,2]"),
		keyCase("k-<x>", []string{"a,b", "c]", "[d]", "e=f"}, "k-[a%2Cb,c%5D,[d%5D,e=f]"),
		keyCase("k-<x>", []string{}, "k-[]"),
		keyCase("k-<x>", []string{""}, "k-[%empty]"),
		keyCase("k-<x>", []string{"%empty"}, "k-[%25empty]"),
		keyCase("k-<x>", []string{"", ""}, "k-[%empty,%empty]"),
		keyCase("k-<x>", []string(nil), "k-%nil"),
		keyCase("k-<x>", [][]int{{1}, nil, {}}, "k-[[1],%nil,[]]"),
		keyCase("k-<x>", []*int{nil, new(1)}, "k-[%nil,1]"),
		keyCase("k-<x>", [2]string{"a", "b"}, "k-[a,b]"),
		keyCase("k-<x>", []keyShout{{"a"}, {"b"}}, "k-[a!,b!]"),
		keyCase("k-<x>", []time.Time{at.Truncate(time.Hour)}, "k-[2026-11-21T11:00:00Z]"),
		keyCase("k-<x>", map[string]int{"b": 2, "a=": 1, "": 0}, "k-[=0,a%3D=1,b=2]"),
		keyCase("k-<x>", map[keyWord]bool{{"w"}: true}, "k-[w=true]"),
		keyCase("k-<x>", map[string]int{}, "k-[]"),
		keyCase("k-<x>", map[string]int(nil), "k-%nil"),
		keyCase("k-<x>", []keyPage{{Skip: 1, Limit: 2, Sort: new("a,b)")}}, "k-[(skip=1,limit=2,sort=a%2Cb%29)]"),
		keyCase("k-<x>", []struct{}{{}}, "k-[()]"),
	})
}

func TestTemplateStructs(t *testing.T) {
	type Base struct{ ID int64 }
	type inner struct{ X, Y string }
	type hidden struct{ Region string }
	type noCopy struct{ n int }
	type deep struct{ In *struct{ P *inner } }
	type Args struct {
		UserID int64 `key:"id"`
		Name   string
		Log    io.Writer `key:"-"`
		secret int
	}
	type filter struct {
		Status string
		Page   keyPage
	}
	type outer struct {
		A *inner
		F filter
	}
	type shadowing struct {
		Base
		ID string
	}
	type embedding struct {
		*Base
		hidden
		N int8
	}
	_, _, _ = Args{}.secret, noCopy{}.n, keyPage{}.cursor // unused but by reflection
	in := &inner{"1", "2"}
	page := keyPage{Skip: 20, Limit: 10}
	runCases(t, []func(*testing.T){
		keyCase("g", struct{}{}, "g"),
		keyCase("g", &struct{}{}, "g"),
		keyCase("u-<id>:<name>", Args{UserID: 42, Name: "a:b"}, "u-42:a:b"),
		keyCase("u-<name>:<id>", Args{UserID: 42, Name: "a:b"}, "u-a%3Ab:42"),
		keyCase("u-<id>-<name>", &Args{UserID: -42, Name: "a-b"}, "u--42-a-b"),
		keyCase("u-<id>-<name>", new(&Args{UserID: 42, Name: "ann"}), "u-42-ann"),
		keyCase("<id>-<name>-<id>", Args{UserID: 1, Name: "x-y"}, "1-x%2Dy-1"),
		keyCase("user:{<id>}:<name>", Args{UserID: 42, Name: "}"}, "user:{42}:%7D"),
		keyCase("<<b>><id> %<name><<", Args{UserID: 42, Name: "x"}, "<b>42 %x<"),
		keyCase("<name>%25<id>", Args{UserID: 42, Name: "x%25~"}, "x~2525~7E%2542"),
		keyCase("<name>é<id>", Args{UserID: 42, Name: "aéèb"}, "a%C3%A9%C3%A8bé42"),
		keyCase("<id>0<name>", Args{UserID: 1010, Name: "0"}, "1%301%3000"),
		keyCase("<a.x>-<a.y>-<f>", outer{in, filter{"open", page}}, "1-2-(status=open,page=(skip=20,limit=10,sort=%nil))"),
		keyCase("<a.x>-<a.y>-<f>", outer{nil, filter{}}, "%nil-%nil-(status=,page=(skip=0,limit=0,sort=%nil))"),
		keyCase("<in.p.x>-<in.p.y>", deep{}, "%nil-%nil"),
		keyCase("<in.p.x>-<in.p.y>", deep{new(struct{ P *inner })}, "%*nil-%*nil"),
		keyCase("<in.p>", deep{new(struct{ P *inner })}, "%*nil"),
		keyCase("<in>", deep{new(struct{ P *inner })}, "(p=%nil)"),
		keyCase("<id>", struct {
			noCopy
			ID int
		}{ID: 1}, "1"),
		keyCase("<a>-<f.status>-<f.page.skip>-<f.page.limit>-<f.page.sort>", outer{in, filter{"-", page}}, "(x=1,y=2)-%2D-20-10-%nil"),
		keyCase("<id>-<base.id>", shadowing{Base{7}, "x-"}, "x%2D-7"),
		keyCase("<id>-<region>-<n>", embedding{&Base{7}, hidden{"eu"}, 1}, "7-eu-1"),
		keyCase("<base>-<region>-<n>", embedding{&Base{7}, hidden{"eu"}, 1}, "(id=7)-eu-1"),
		keyCase("<base.id>-<hidden>-<n>", embedding{nil, hidden{"eu"}, 1}, "%nil-(region=eu)-1"),
	})
	tpl, err := New[Args]("read_user-<id>-<name>")
	if err != nil {
		t.Fatal(err)
	}
	if key, err := tpl.Render("app:cached:", Args{UserID: 42, Name: "ann"}); key != "app:cached:read_user-42-ann" || err != nil {
		t.Errorf("with a prefix: %q, %v", key, err)
	}
	if tpl.Text() != "read_user-<id>-<name>" {
		t.Errorf("text: %q", tpl.Text())
	}
}

func TestTemplateFilters(t *testing.T) {
	type search struct {
		Q   string
		Day time.Time
		Tag *string
	}
	args := search{" Hello ", time.Date(2026, 1, 1, 0, 30, 0, 0, time.FixedZone("east", 3600)), nil}
	runCases(t, []func(*testing.T){
		keyCase("s-<q|hash>", "hello", "s-2cf24dba5fb0a30e26e83b2ac5b9e29e"),
		keyCase("s-<q|lower|hash>", "HELLO", "s-2cf24dba5fb0a30e26e83b2ac5b9e29e"),
		keyCase("s-<q|trim|upper>", []byte(" hello "), "s-HELLO"),
		keyCase("s-<q|hash>", []byte("hello"), "s-2cf24dba5fb0a30e26e83b2ac5b9e29e"),
		keyCase("s-<q|hash>", keyWord{"hello"}, "s-2cf24dba5fb0a30e26e83b2ac5b9e29e"),
		keyCase("s-<q|upper>", &keyShout{"hello w"}, "s-HELLO%20W!"),
		keyCase("s-<q|hash>", (*keyShout)(nil), "s-%nil"),
		keyCase("s-<q|hash>", []byte(nil), "s-%nil"),
		keyCase("s-<q|hash>", 42, "s-73475cb40a568e8da8a045ced110137e"),
		keyCase("s-<q|hash>", []string{"a", ""}, "s-"+filterHash.run("[a,%empty]")),
		keyCase("s-<q|hash>", []string(nil), "s-%nil"),
		keyCase("s-<day|hash>", args.Day, "s-"+filterHash.run("2025-12-31T23:30:00Z")),
		keyCase("s-<q|trim>-<day|2006-01-02>-<tag|lower>", args, "s-Hello-2025-12-31-%nil"),
		keyCase("s-<q|lower>-<tag|hash>-<day|Jan 2|upper>", args, "s-%20hello%20-%nil-DEC%2031"),
		keyCase("s-<tag>-<day|Jan-02>-<q>", args, "s-%nil-Dec%2D31-%20Hello%20"),
		keyCase("s-<day|2006-01-02>", new(args.Day), "s-2025-12-31"),
	})
}

func TestTagTemplate(t *testing.T) {
	type args struct {
		UserID int64
		Tenant string
		Conn   io.Writer
	}
	for text, want := range map[string]string{"user-<user_id>": "user-42", "users": "users", "t-<tenant>": "t-a b%{x}/é"} {
		tag, err := NewTag[args](text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tag.Render("p:", args{42, "a b%{x}/é", nil}); got != "p:"+want || err != nil {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	scalar, err := NewTag[int]("all")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := scalar.Render("", 7); got != "all" || err != nil {
		t.Errorf("scalar: %q, %v", got, err)
	}
	for text, placeholder := range map[string]string{"": "", "x-<nope>": "nope", "x-<conn>": "conn"} {
		_, err := NewTag[args](text)
		wantTemplateError(t, err, text, placeholder, "")
	}
	_, err = NewTag[int]("<a>-<b>")
	wantTemplateError(t, err, "<a>-<b>", "b", "keep one placeholder")
}

func TestLongKeys(t *testing.T) {
	long := strings.Repeat("x", maxKeySize-2)
	if key := keyOf(t, "k-<x>", long); key != "k-"+long {
		t.Errorf("a key of %d bytes was changed to %q", maxKeySize, key)
	}
	keys := map[string]string{}
	for _, s := range []string{long + "y", long + "z", long + strings.Repeat("y", 1e5), strings.Repeat("é", maxKeySize), strings.Repeat("東", maxKeySize), "é" + strings.Repeat("東", maxKeySize)} {
		key := keyOf(t, "k-<x>", s)
		if other, ok := keys[key]; ok {
			t.Errorf("%.20q… and %.20q… are both %q", s, other, key)
		}
		keys[key] = s
		if len(key) > maxKeySize || len(key) <= maxKeySize-4 || !strings.HasPrefix(key, "k-"+s[:300]) || strings.ToValidUTF8(key, "") != key {
			t.Errorf("%d bytes: %q", len(key), key)
		}
	}
	// The literal of a template can hold anything, so also what a shortened key looks like.
	shortened := keyOf(t, "k-<x>", long+"y")
	forged := keyOf(t, shortened, struct{}{})
	if forged == shortened {
		t.Errorf("a template renders to the shortened key %q of another argument", forged)
	}
	if tpl, _ := New[string]("k-<x>"); tpl != nil {
		key, err := tpl.Render(strings.Repeat("p", maxKeySize), "x")
		if err != nil || !strings.HasSuffix(key, "pk-x") {
			t.Errorf("the prefix counts for the size: %q, %v", key, err)
		}
	}
}

func TestRenderConcurrently(t *testing.T) {
	type args struct {
		Name string
		Page *keyPage
		Tags map[string][]int
	}
	tpl, err := New[args]("k-<name>-<page.skip>-<page.limit>-<page.sort>-<tags>")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				a := args{fmt.Sprint("n", g), &keyPage{Skip: i, Sort: new("s")}, map[string][]int{"t": {g, i}}}
				want := fmt.Sprintf("p:k-n%d-%d-0-s-[t=[%d,%d]]", g, i, g, i)
				if key, err := tpl.Render("p:", a); key != want || err != nil {
					t.Errorf("%q, %v, want %q", key, err, want)
				}
				if i%50 == 0 {
					runtime.GC()
				}
			}
		})
	}
	wg.Wait()
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"A": "a", "ID": "id", "UserID": "user_id", "HTTPServerURL": "http_server_url", "UserIDs": "user_ids", "URLs": "urls", "IDsByName": "ids_by_name",
		"Page2": "page2", "Page2Size": "page2_size", "SHA256Sum": "sha256_sum", "AsIs": "as_is", "X_Y": "x_y", "ÄrgerÖl": "ärger_öl", "already_snake": "already_snake",
		"HTTPStatus": "http_status", "ISBNs": "isbns", "IsSet": "is_set", "DBName": "db_name",
	} {
		if got := snakeCase(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
