package keytemplate

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// FuzzTemplateParse gives any text as a template over several types: it binds or gives a TemplateError about that very
// text, and what binds renders.
func FuzzTemplateParse(f *testing.F) {
	for _, text := range []string{
		"", "k", "k-<a>", "k-<a>-<b>", "k-<a|hash>-<b|lower|trim>", "<n.a>-<at|2006-01-02>", "<<x>>", "<", ">", "<>", "<a><b>", "<a.>", "<.a>", "<a|>", "<a||hash>",
		"{<a>}:<b>", "%<a>%25<b>", "<a", "a>", "<a<b>>", "\xff", "<é>", "<n>é<at>", "<a>-<b>-<at|Jan _2 15:04:05.000000000 MST>-<n>", "<self.self.x>",
	} {
		f.Add(text)
	}
	type args struct {
		A  string
		B  *[]byte
		At time.Time
		N  struct{ A, B int }
	}
	type self struct {
		*everyKind
		Self *self
		X    int
	}
	f.Fuzz(func(t *testing.T, text string) {
		fuzzParse(t, text, args{})
		fuzzParse(t, text, &args{A: text, B: new([]byte(text)), At: time.Unix(int64(len(text)), 1)})
		fuzzParse(t, text, self{})
		fuzzParse(t, text, text)
		fuzzParse(t, text, []string{text, ""})
		fuzzParse(t, text, struct{}{})
		fuzzParse(t, text, any(text))
	})
}

func fuzzParse[K any](t *testing.T, text string, args K) {
	for _, bind := range []func(string) (*Template[K], error){New[K], NewTag[K]} {
		tpl, err := bind(text)
		if err != nil {
			if te, ok := errors.AsType[*Error](err); !ok || te.Template != text || te.Err == nil {
				t.Fatalf("%q over %T: %#v", text, args, err)
			}
			continue
		}
		key, err := tpl.Render("p:", args)
		if again, _ := tpl.Render("p:", args); err != nil || key != again || !strings.HasPrefix(key, "p:") || tpl.program.use == ofKey && len(key) > maxKeySize+2 {
			t.Fatalf("%q of %#v: %q then %q, %v", text, args, key, again, err)
		}
	}
}

// FuzzTemplateRender renders two pairs of texts under one literal: their keys are equal if, and only if, the pairs are.
func FuzzTemplateRender(f *testing.F) {
	for _, literal := range awkwardLiterals {
		f.Add(literal, "1-2", "3", "1", "2-3")
		f.Add(literal, "a"+literal+"b", "c", "a", "b"+literal+"c")
	}
	f.Add("%", "%nil", "", "", "%nil")
	f.Add("-", strings.Repeat("a", 600), "", strings.Repeat("a", 599), "a")
	f.Fuzz(func(t *testing.T, literal, a, b, c, d string) {
		escaped := strings.NewReplacer("<", "<<", ">", ">>").Replace(literal)
		checkPairs(t, escaped, pairOf[string]{a, b}, pairOf[string]{c, d})
		checkPairs(t, escaped, pairOf[*string]{&a, &b}, pairOf[*string]{&c, &d})
		checkPairs(t, escaped, pairOf[[]string]{[]string{a, b}, []string{c}}, pairOf[[]string]{[]string{a}, []string{b, c}})
		checkPairs(t, escaped, pairOf[map[string]string]{map[string]string{a: b}, nil}, pairOf[map[string]string]{map[string]string{c: d}, nil})
		checkPairs(t, escaped, pairOf[[]byte]{[]byte(a), []byte(b)}, pairOf[[]byte]{[]byte(c), []byte(d)})
		checkPairs(t, escaped, pairOf[keyWord]{keyWord{a}, keyWord{b}}, pairOf[keyWord]{keyWord{c}, keyWord{d}})
	})
}

func checkPairs[T any](t *testing.T, literal string, x, y pairOf[T]) {
	text := literal + "<a>" + literal + "<b>" + literal
	tpl, err := New[pairOf[T]](text)
	if err != nil {
		if te, ok := errors.AsType[*Error](err); !ok || te.Template != text || literal != "" && utf8.ValidString(literal) {
			t.Fatalf("%q: %v", text, err)
		}
		return
	}
	one, err1 := tpl.Render("", x)
	two, err2 := tpl.Render("", y)
	if same := sameValue(reflect.ValueOf(&x).Elem(), reflect.ValueOf(&y).Elem()); err1 != nil || err2 != nil || same != (one == two) {
		t.Fatalf("%q: equal %v, but keys %q (%v) and %q (%v)", text, same, one, err1, two, err2)
	}
}
