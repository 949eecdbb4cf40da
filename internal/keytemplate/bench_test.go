package keytemplate

import (
	"strconv"
	"testing"
)

type benchKeyArgs struct {
	Tenant string
	UserID int64
}

// handwrittenKey is what one would write for the template user-<tenant>-<user_id>, without its escaping.
//
//go:noinline
func handwrittenKey(prefix string, a benchKeyArgs) string {
	b := make([]byte, 0, 64)
	b = append(b, prefix...)
	b = append(b, "user-"...)
	b = append(b, a.Tenant...)
	b = append(b, '-')
	b = strconv.AppendInt(b, a.UserID, 10)
	return string(b)
}

// BenchmarkKeyRender compares a template with two fields to the same key written by hand.
func BenchmarkKeyRender(b *testing.B) {
	args := benchKeyArgs{"acme", 1234567}
	tpl, err := New[benchKeyArgs]("user-<tenant>-<user_id>")
	if err != nil {
		b.Fatal(err)
	}
	if key, err := tpl.Render("app:cached:", args); key != handwrittenKey("app:cached:", args) || err != nil {
		b.Fatal(key, err)
	}
	b.Run("template", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tpl.Render("app:cached:", args); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("handwritten", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			handwrittenKey("app:cached:", args)
		}
	})
}

// BenchmarkKeyRenderKinds shows what other values cost.
func BenchmarkKeyRenderKinds(b *testing.B) {
	b.Run("uuid", benchKey("k-<x>", "550e8400-e29b-41d4-a716-446655440000"))
	b.Run("escaped", benchKey("k-<x>", "Ann Lee, 100%"))
	b.Run("pointer", benchKey("k-<x>", new(int64(42))))
	b.Run("hash", benchKey("k-<x|hash>", "hello"))
	b.Run("text", benchKey("k-<x>", keyWord{"hello"}))
	b.Run("list", benchKey("k-<x>", []int{1, 2, 3}))
	b.Run("map", benchKey("k-<x>", map[string]int{"a": 1, "b": 2}))
	b.Run("struct", benchKey("k-<x>", []keyPage{{Skip: 20, Limit: 10}}))
}

func benchKey[K any](text string, args K) func(*testing.B) {
	return func(b *testing.B) {
		tpl, err := New[K](text)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tpl.Render("app:cached:", args); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func TestRenderAllocatesTheKeyAlone(t *testing.T) {
	type args struct {
		benchKeyArgs
		At   *int64
		Raw  []byte
		Rate float64
		OK   bool
	}
	tpl, err := New[args]("user-<tenant>-<user_id>-<at>-<raw>-<rate>-<ok>")
	if err != nil {
		t.Fatal(err)
	}
	a := args{benchKeyArgs{"ac-me %", 42}, new(int64(7)), []byte("x y"), 0.5, true}
	if n := testing.AllocsPerRun(100, func() {
		if _, err := tpl.Render("app:cached:", a); err != nil {
			t.Fatal(err)
		}
	}); n != 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}
