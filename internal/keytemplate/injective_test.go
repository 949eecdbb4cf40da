package keytemplate

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkInjective draws pairs of arguments for templates drawn by text, and checks that equal ones have one key and
// different ones different keys.
func checkInjective[K any](t *testing.T, text func(*rapid.T) string) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		tpl, err := New[K](text(t))
		if err != nil {
			t.Fatal(err)
		}
		key := func(args K) string {
			key, err := tpl.Render("p:", args)
			if err != nil {
				t.Fatalf("%q of %+v: %v", tpl.Text(), args, err)
			}
			return key
		}
		var x, y, clone K
		xv, yv := reflect.ValueOf(&x).Elem(), reflect.ValueOf(&y).Elem()
		drawValue(t, xv)
		drawNear(t, yv, xv)
		cloneValue(reflect.ValueOf(&clone).Elem(), xv)
		if key(x) != key(clone) {
			t.Fatalf("%q: equal arguments have the keys %q and %q", tpl.Text(), key(x), key(clone))
		}
		if same := sameValue(xv, yv); same != (key(x) == key(y)) {
			t.Fatalf("%q: equal %v, but keys %q and %q", tpl.Text(), same, key(x), key(y))
		}
	})
}

func drawLiteral(t *rapid.T) string {
	return rapid.SampledFrom(awkwardLiterals).Draw(t, "literal")
}

// pairOf is arguments with a border that a value could be taken to end at.
type pairOf[T any] struct{ A, B T }

// checkKind checks values of one type: alone, side by side, behind pointers and in lists, maps and structs.
func checkKind[T any](t *testing.T) {
	t.Run(fmt.Sprint(reflect.TypeFor[T]()), func(t *testing.T) {
		alone := func(t *rapid.T) string { return drawLiteral(t) + "<x>" + drawLiteral(t) }
		pair := func(t *rapid.T) string {
			return drawLiteral(t) + "<a>" + drawLiteral(t) + "<b>" + drawLiteral(t)
		}
		if !isFieldwise(reflect.TypeFor[T]()) {
			checkInjective[T](t, alone)
		}
		checkInjective[pairOf[T]](t, pair)
		checkInjective[pairOf[*T]](t, pair)
		checkInjective[pairOf[[]T]](t, pair)
		checkInjective[pairOf[[]*T]](t, pair)
		checkInjective[pairOf[[2]T]](t, pair)
		checkInjective[pairOf[map[string]T]](t, pair)
		checkInjective[pairOf[**pairOf[T]]](t, pair)
	})
}

func TestEveryKindIsInjective(t *testing.T) {
	checkKind[string](t)
	checkKind[keyStatus](t)
	checkKind[json.Number](t)
	checkKind[[]byte](t)
	checkKind[[2]byte](t)
	checkKind[bool](t)
	checkKind[int](t)
	checkKind[keyLevel](t)
	checkKind[int16](t)
	checkKind[int32](t)
	checkKind[int64](t)
	checkKind[uint](t)
	checkKind[uint8](t)
	checkKind[uint16](t)
	checkKind[uint32](t)
	checkKind[uint64](t)
	checkKind[float32](t)
	checkKind[float64](t)
	checkKind[complex64](t)
	checkKind[complex128](t)
	checkKind[time.Time](t)
	checkKind[time.Duration](t)
	checkKind[netip.Addr](t)
	checkKind[big.Int](t)
	checkKind[keyWord](t)
	checkKind[keyShout](t)
	checkKind[keyWords](t)
	checkKind[keyPage](t)
	checkKind[[][]string](t)
	checkKind[map[int8]string](t)
	checkKind[map[string][]string](t)
	checkKind[map[pairOf[string]]bool](t)
	checkKind[struct{}](t)
}

// everyKind has a field of every kind, some of them reached in more than one way.
type everyKind struct {
	S    string
	Raw  []byte
	Sum  [2]byte
	OK   bool
	I    int64
	U    uint8
	F    float32
	C    complex128
	At   time.Time
	Addr netip.Addr
	Big  *big.Int
	Text keyShout
	P    ***string
	L    [][]string
	M    map[string][]int8
	KeyEmbedded
	N  pairOf[string]
	PN *pairOf[*pairOf[string]]
}

type KeyEmbedded struct{ Region, Zone string }

func TestManyFieldsAreInjective(t *testing.T) {
	names := []string{"s", "raw", "sum", "ok", "i", "u", "f", "c", "at", "addr", "big", "text", "p", "l", "m", "region", "zone",
		"n.a", "n.b", "pn.a.a", "pn.a.b", "pn.b"}
	checkInjective[everyKind](t, func(t *rapid.T) string {
		var text strings.Builder
		for _, name := range rapid.Permutation(names).Draw(t, "order") {
			text.WriteString(drawLiteral(t) + "<" + name + ">")
		}
		return text.String()
	})
}

// TestShortStringsAreInjective goes through all pairs of short strings over the bytes that matter to a literal.
func TestShortStringsAreInjective(t *testing.T) {
	for _, literal := range awkwardLiterals {
		texts := stringsOver("%25n"+literal, 2)
		checkAllPairs(t, literal, texts[:min(len(texts), 100)])
	}
}

// TestShortNumbersAreInjective goes through pairs of numbers whose digits matter to a literal.
func TestShortNumbersAreInjective(t *testing.T) {
	ints := []int{-100, -11, -10, -2, -1, 0, 1, 2, 5, 10, 11, 12, 15, 20, 21, 51, 100, 101, 110, 111, 1010}
	floats := []float64{math.Inf(-1), -1e22, -10, -1.5, -1, -1e-7, 0, 1e-7, 1e-8, 0.1, 0.01, 1, 1.1, 1.5, 10, 1e21, 1e22, math.Inf(1)}
	var complexes []complex128
	for _, f := range floats {
		complexes = append(complexes, complex(f, 1), complex(1, f))
	}
	for _, literal := range awkwardLiterals {
		checkAllPairs(t, literal, ints)
		checkAllPairs(t, literal, floats)
		checkAllPairs(t, literal, complexes)
	}
}

func checkAllPairs[T comparable](t *testing.T, literal string, values []T) {
	t.Helper()
	tpl, err := New[pairOf[T]]("<a>" + literal + "<b>" + literal)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]pairOf[T]{}
	for _, a := range values {
		for _, b := range values {
			args := pairOf[T]{a, b}
			key, err := tpl.Render("", args)
			if err != nil {
				t.Fatal(err)
			}
			if other, ok := seen[key]; ok && other != args {
				t.Fatalf("%q: %#v and %#v are both %q", tpl.Text(), args, other, key)
			}
			seen[key] = args
		}
	}
}

// TestBracketsAreInjective goes through many lists, maps and structs of texts that look like brackets, commas and names.
func TestBracketsAreInjective(t *testing.T) {
	texts := append(stringsOver(",]a", 3), "%", "%empty", "%nil", "%2C", "a],[a", "a=a", "=", "a)", "a,b=a", "a,b=", "b=a", "a),(a=a")
	lists := [][]string{nil, {}}
	maps := []map[string]string{nil, {}}
	structs := []pairOf[string]{}
	for _, a := range texts {
		lists = append(lists, []string{a}, []string{a, ""}, []string{a, "a"}, []string{"a", a}, []string{a, a})
		for _, b := range texts {
			maps = append(maps, map[string]string{a: b}, map[string]string{a: b, "a": a}, map[string]string{a: "a", b: "b"})
			structs = append(structs, pairOf[string]{a, b})
		}
	}
	checkDistinct(t, "<x>", maps)
	pairs := [][]pairOf[string]{}
	for _, s := range structs {
		pairs = append(pairs, []pairOf[string]{s}, []pairOf[string]{s, {"a", "a"}})
	}
	checkDistinct(t, "<x>", pairs)
	nested := [][][]string{nil, {}}
	for _, a := range lists {
		nested = append(nested, [][]string{a})
		for _, b := range lists {
			nested = append(nested, [][]string{a, b})
		}
	}
	checkDistinct(t, "<x>", nested)
	// Brackets need no escaping for what follows them in a template.
	var sides []pairOf[[]string]
	var structSides []pairOf[pairOf[string]]
	for _, a := range []string{"a", "a]-[a", "]", "-", "", "]-[", "a)-(a=a,b=a"} {
		for _, b := range []string{"a", "a]-[a", "]", "-", "", "]-[", "a)-(a=a,b=a"} {
			sides = append(sides, pairOf[[]string]{[]string{a}, []string{b}}, pairOf[[]string]{[]string{a, b}, nil})
			structSides = append(structSides, pairOf[pairOf[string]]{pairOf[string]{"a", a}, pairOf[string]{"a", b}})
		}
	}
	checkDistinct(t, "<a>-<b>", sides)
	checkDistinct(t, "<a>-<b>", structSides)
}

func checkDistinct[K any](t *testing.T, text string, values []K) {
	t.Helper()
	tpl, err := New[K](text)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, v := range values {
		key, err := tpl.Render("", v)
		if err != nil {
			t.Fatal(err)
		}
		written := fmt.Sprintf("%#v", v) // maps sorted by their keys
		if other, ok := seen[key]; ok && other != written {
			t.Fatalf("%s and %s are both %q", written, other, key)
		}
		seen[key] = written
	}
}

// stringsOver gives all strings of at most n bytes of alphabet, without repeats.
func stringsOver(alphabet string, n int) []string {
	all, seen := []string{""}, map[string]bool{"": true}
	for i := 0; i < len(all); i++ {
		for _, c := range []byte(alphabet) {
			if s := all[i] + string(c); len(all[i]) < n && !seen[s] {
				all, seen[s] = append(all, s), true
			}
		}
	}
	return all
}
