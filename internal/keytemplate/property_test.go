package keytemplate

import (
	"encoding"
	"math"
	"math/big"
	"net/netip"
	"reflect"
	"time"

	"pgregory.net/rapid"
)

// awkwardLiterals are literals whose first byte also occurs in the texts of values, in escapes, or in nil and brackets.
var awkwardLiterals = []string{
	"-", "%", "%%", "%2", "%25", "%nil", "~", "~7E", "~nil", ":", ",", "]", ")", "[", "(", "=", "*", "n", "nil", "e", "E", "+", ".", "i", "I",
	"0", "1", "2", "5", "A", "F", "T", "Z", "t", "é", "ê", "東", "\u0085", " ", "\n", "{", "}", "-1", "--", "a", "<<", ">>", "%empty", "false",
}

// awkwardStrings are strings that look like some part of a key's syntax, or are cut at one of its borders.
var awkwardStrings = []string{
	"", "a", "-", "--", "a-", "-a", "1", "-1", "%", "%2", "%25", "%2D", "%nil", "%*nil", "%empty", "~", "~25", "~nil", "nil", "[]", "[a]", "a,b", ",", "]", "=",
	"a=b", "(", ")", "é", "ê", "\xc3", "\xa9", "\u0085", " ", "\x00", "{", "}", "0", "00", "2", "5", "e", "E", "true", "false", "東",
}

// joinedStrings are strings that two or more texts could have been joined to.
var joinedStrings = []string{"a", "a,a", "a],[a", "a=a", "a,a=a", "a,y=a", "a)", "a-a"}

// drawValue sets v to a value from a small domain, so that nearly equal ones meet.
func drawValue(t *rapid.T, v reflect.Value) {
	type draws = func()
	oneOf := func(ds ...draws) { ds[rapid.IntRange(0, len(ds)-1).Draw(t, "way")]() }
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		zone := time.FixedZone("", rapid.SampledFrom([]int{0, 3600, -7200}).Draw(t, "zone"))
		*x = time.Unix(rapid.Int64Range(-3, 3).Draw(t, "s"), rapid.SampledFrom([]int64{0, 1, 5e8}).Draw(t, "ns")).In(zone)
		return
	case *netip.Addr:
		*x = rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("::1"), netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("::ffff:1.2.3.4")}).Draw(t, "addr")
		return
	case *big.Int:
		x.SetInt64(rapid.Int64Range(-2, 2).Draw(t, "big"))
		return
	case *keyWord:
		x.w = rapid.SampledFrom(awkwardStrings).Draw(t, "word")
		return
	case *keyShout:
		x.w = rapid.SampledFrom(awkwardStrings).Draw(t, "shout")
		return
	}
	switch v.Kind() {
	case reflect.String:
		oneOf(
			func() { v.SetString(rapid.SampledFrom(awkwardStrings).Draw(t, "awkward")) },
			func() { v.SetString(rapid.SampledFrom(joinedStrings).Draw(t, "joined")) },
			func() {
				v.SetString(rapid.StringOfN(rapid.RuneFrom([]rune("-%2,]=nae~é")), 0, 3, -1).Draw(t, "short"))
			},
			func() { v.SetString(rapid.String().Draw(t, "any")) },
		)
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(t, "bool"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		oneOf(
			func() { v.SetInt(rapid.Int64Range(-12, 12).Draw(t, "small")) },
			func() { v.SetInt(rapid.Int64().Draw(t, "int")) }, // cut to the size of v
		)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		oneOf(
			func() { v.SetUint(rapid.Uint64Range(0, 12).Draw(t, "small")) },
			func() { v.SetUint(rapid.Uint64().Draw(t, "uint")) },
		)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(drawFloat(t, v.Type().Bits()))
	case reflect.Complex64, reflect.Complex128:
		v.SetComplex(complex(drawFloat(t, v.Type().Bits()/2), drawFloat(t, v.Type().Bits()/2)))
	case reflect.Pointer:
		if rapid.Bool().Draw(t, "set") {
			v.Set(reflect.New(v.Type().Elem()))
			drawValue(t, v.Elem())
		}
	case reflect.Slice:
		if n := rapid.IntRange(-1, 3).Draw(t, "length"); n >= 0 {
			v.Set(reflect.MakeSlice(v.Type(), n, n+1))
			for i := range n {
				drawValue(t, v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			drawValue(t, v.Index(i))
		}
	case reflect.Map:
		if n := rapid.IntRange(-1, 3).Draw(t, "entries"); n >= 0 {
			v.Set(reflect.MakeMap(v.Type()))
			for range n {
				key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
				drawValue(t, key)
				drawValue(t, elem)
				v.SetMapIndex(key, elem)
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				drawValue(t, v.Field(i))
			}
		}
	default:
		t.Fatalf("no values of %s", v.Type())
	}
}

func drawFloat(t *rapid.T, bits int) float64 {
	if rapid.Bool().Draw(t, "awkward") {
		return rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, -1, 10, 0.5, 1e-7, -1e-7, 1e21, 1e22, math.Inf(1), math.Inf(-1)}).Draw(t, "float")
	}
	if bits == 32 {
		return float64(rapid.Float32().Draw(t, "float"))
	}
	return rapid.Float64().Draw(t, "float")
}

// sameValue says whether x and y are one value for a key, independently of how keys are written.
func sameValue(x, y reflect.Value) bool {
	if xt, ok := x.Addr().Interface().(*time.Time); ok {
		return xt.Equal(*y.Addr().Interface().(*time.Time))
	}
	if xt, ok := x.Addr().Interface().(encoding.TextMarshaler); ok {
		if x.Kind() == reflect.Slice && x.IsNil() != y.IsNil() {
			return false
		}
		a, _ := xt.MarshalText()
		b, _ := y.Addr().Interface().(encoding.TextMarshaler).MarshalText()
		return string(a) == string(b)
	}
	switch x.Kind() {
	case reflect.Pointer:
		return x.IsNil() && y.IsNil() || !x.IsNil() && !y.IsNil() && sameValue(x.Elem(), y.Elem())
	case reflect.Slice, reflect.Array:
		if x.Kind() == reflect.Slice && x.IsNil() != y.IsNil() || x.Len() != y.Len() {
			return false
		}
		for i := range x.Len() {
			if !sameValue(x.Index(i), y.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		if x.IsNil() != y.IsNil() || x.Len() != y.Len() {
			return false
		}
		for it := x.MapRange(); it.Next(); {
			found := false
			for other := y.MapRange(); other.Next() && !found; {
				found = sameValue(settable(it.Key()), settable(other.Key())) && sameValue(settable(it.Value()), settable(other.Value()))
			}
			if !found {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range x.NumField() {
			if x.Type().Field(i).IsExported() && !sameValue(x.Field(i), y.Field(i)) {
				return false
			}
		}
		return true
	}
	return x.Equal(y)
}

func settable(v reflect.Value) reflect.Value {
	s := reflect.New(v.Type()).Elem()
	s.Set(v)
	return s
}

// cloneValue sets to to a value that is the same as from for a key, with as little in common as can be: pointers,
// slices and maps of its own, times in another zone, the other zero.
func cloneValue(to, from reflect.Value) {
	if at, ok := from.Addr().Interface().(*time.Time); ok {
		to.Set(reflect.ValueOf(at.In(time.FixedZone("elsewhere", 12345))))
		return
	}
	switch from.Kind() {
	case reflect.Float32, reflect.Float64:
		to.Set(from)
		if from.Float() == 0 {
			to.SetFloat(math.Copysign(0, -math.Copysign(1, from.Float())))
		}
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			cloneValue(to.Elem(), from.Elem())
		}
	case reflect.Slice:
		if !from.IsNil() {
			to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				cloneValue(to.Index(i), from.Index(i))
			}
		}
	case reflect.Array:
		for i := range from.Len() {
			cloneValue(to.Index(i), from.Index(i))
		}
	case reflect.Map:
		if !from.IsNil() {
			to.Set(reflect.MakeMap(from.Type()))
			for it := from.MapRange(); it.Next(); {
				elem := reflect.New(from.Type().Elem()).Elem()
				cloneValue(elem, settable(it.Value()))
				to.SetMapIndex(it.Key(), elem)
			}
		}
	case reflect.Struct:
		to.Set(from) // with what is unexported
		for i := range from.NumField() {
			if from.Type().Field(i).IsExported() {
				cloneValue(to.Field(i), from.Field(i))
			}
		}
	default:
		to.Set(from)
	}
}

// drawNear sets y to a value that differs from x in some fields only, if they are structs.
func drawNear(t *rapid.T, y, x reflect.Value) {
	if y.Kind() != reflect.Struct || hasText(y.Type()) || y.Type() == timeType {
		drawValue(t, y)
		return
	}
	y.Set(x)
	for i := range y.NumField() {
		if y.Type().Field(i).IsExported() && rapid.Bool().Draw(t, "other") {
			field := reflect.New(y.Field(i).Type()).Elem()
			drawValue(t, field)
			y.Field(i).Set(field)
		}
	}
}
