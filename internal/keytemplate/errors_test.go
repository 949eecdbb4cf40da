package keytemplate

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"
)

// wantTemplateError checks that err is a TemplateError about a placeholder of a template, with a mend in its message.
func wantTemplateError(t *testing.T, err error, text, placeholder, mend string) {
	t.Helper()
	te, ok := errors.AsType[*Error](err)
	if !ok {
		t.Errorf("%q: got %v, want a TemplateError", text, err)
		return
	}
	if te.Template != text || te.Placeholder != placeholder || !strings.Contains(te.Error(), mend) || !strings.HasPrefix(te.Error(), "cachify: ") {
		t.Errorf("%q: template %q, placeholder %q, message: %v\nwant placeholder %q and the words: %s", text, te.Template, te.Placeholder, te, placeholder, mend)
	}
}

func badTemplate[K any](text, placeholder, mend string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		_, err := New[K](text)
		wantTemplateError(t, err, text, placeholder, mend)
	}
}

func TestTemplateErrors(t *testing.T) {
	type abc struct{ A, B, Locale string }
	type Base struct{ ID int }
	type Other struct{ ID int }
	type viaOne struct{ Base }
	type viaTwo struct{ Base }
	type twice struct {
		X int `key:"n"`
		N int
	}
	type db struct{ pool *sync.Pool }
	type withDB struct {
		ID int
		DB *db
	}
	type node struct {
		Value int
		Next  *node
	}
	type selfEmbedded struct {
		*selfEmbedded
		X int
	}
	_, _ = db{}.pool, selfEmbedded{}.selfEmbedded // unused but by reflection
	type list []list
	type tree map[string]tree
	type pointer *pointer
	runCases(t, []func(*testing.T){
		// Syntax.
		badTemplate[abc]("", "", "it is empty"),
		badTemplate[abc]("k-<a", "", `"<a" is never closed`),
		badTemplate[abc]("k-<a<b>", "", "write << for a literal <"),
		badTemplate[abc]("k-a>", "", "write >> for a literal >"),
		badTemplate[abc]("k-<>", "", "a name is missing"),
		badTemplate[abc]("k-<a.>", "a.", "a name is missing"),
		badTemplate[abc]("k-< a>", " a", "names are made of letters"),
		badTemplate[abc]("k-<a|>", "a|", "the filters are hash, lower"),
		badTemplate[abc]("k-\xff<a>", "", "valid UTF-8"),
		badTemplate[abc]("k-<a><b>-<locale>", "b", "put a literal between them, such as <a>-<b>"),
		// Names.
		badTemplate[abc]("k-<a>-<b>", "locale", "add <locale>, or exclude the field with the tag key:\"-\""),
		badTemplate[abc]("k-<a>-<b>-<locale>-<nope>", "nope", "use one of <a>, <b>, <locale>"),
		badTemplate[abc]("k-<a.x>-<b>-<locale>", "a.x", "string has no fields to reach into: write <a>"),
		badTemplate[struct{}]("k-<a>", "a", "take the placeholder away"),
		badTemplate[struct {
			A int
			b int
		}]("k-<b>", "b", "field b of struct { A int; b int } is unexported"),
		badTemplate[struct{ b int }]("k", "", "all its fields are unexported"),
		badTemplate[struct {
			A int
			b int `key:"b"`
		}]("k-<a>", "", "export it or take its key tag away"),
		badTemplate[struct {
			A int `key:"-"`
		}]("k-<a>", "a", "excluded by its tag"),
		badTemplate[struct {
			A int `key:"a,omitempty"`
		}]("k-<a>", "", "which is not a name"),
		badTemplate[twice]("k-<n>", "", `fields X and N of keytemplate.twice are both called "n"`),
		badTemplate[struct{ T twice }]("k-<t>", "t", "both called"),
		badTemplate[struct {
			Base
			Other
		}]("k-<id>", "id", "write <base.id>"),
		badTemplate[struct {
			viaOne
			viaTwo
		}]("k-<id>", "id", "write <via_one.base.id>"),
		badTemplate[selfEmbedded]("k-<nope>", "nope", "no such field"),
		badTemplate[struct {
			Base
			X int
		}]("k-<x>", "id", "add <id>"),
		badTemplate[struct {
			Base
			ID int
		}]("k-<id>", "base.id", "add <base.id>"),
		badTemplate[struct {
			*Base
			X int
		}]("k-<x>", "base", "add <base>"),
		badTemplate[struct {
			P keyPage
			X int
		}]("k-<x>-<p.skip>", "p.limit", "add <p.limit>"),
		badTemplate[selfEmbedded]("k-<x>", "self_embedded", "is recursive"),
		// Scalars.
		badTemplate[int]("k", "", "add a placeholder, such as k-<id>"),
		badTemplate[keyLevel]("k", "", "such as k-<key_level>"),
		badTemplate[int]("k-<a>-<b>", "b", "keep one placeholder"),
		badTemplate[int]("k-<a.b>", "a.b", "write <a>"),
		// Kinds.
		badTemplate[any]("k-<a>", "a", "has no canonical text (kind interface)"),
		badTemplate[error]("k-<a>", "a", "kind interface"),
		badTemplate[func()]("k-<a>", "a", "kind func"),
		badTemplate[chan int]("k-<a>", "a", "kind chan"),
		badTemplate[uintptr]("k-<a>", "a", "kind uintptr"),
		badTemplate[unsafe.Pointer]("k-<a>", "a", "kind unsafe.Pointer"),
		badTemplate[[]any]("k-<a>", "a", "kind interface"),
		badTemplate[map[string]func()]("k-<a>", "a", "kind func"),
		badTemplate[map[any]string]("k-<a>", "a", "kind interface"),
		badTemplate[[]*bytes.Buffer]("k-<a>", "a", "all its fields are unexported"),
		badTemplate[withDB]("k-<id>", "db", `the exported field DB can't be in a key`),
		badTemplate[withDB]("k-<id>-<db>", "db", `exclude it with the tag key:"-"`),
		badTemplate[struct{ W struct{ F func() } }]("k-<w>", "w", "its field F: func()"),
		badTemplate[struct {
			sync.Mutex
			X int
		}]("k-<x>", "", "exclude it with the tag"),
		// Recursive types.
		badTemplate[node]("k-<value>-<next>", "next", "is recursive"),
		badTemplate[node]("k-<value>-<next.value>", "next.next", "is recursive"),
		badTemplate[list]("k-<a>", "a", "is recursive"),
		badTemplate[tree]("k-<a>", "a", "is recursive"),
		badTemplate[pointer]("k-<a>", "a", "is recursive"),
		// Filters.
		badTemplate[abc]("k-<a|nope>-<b>-<locale>", "a|nope", `no filter "nope" for string: the filters are hash, lower, upper and trim`),
		badTemplate[abc]("k-<a|2006-01-02>-<b>-<locale>", "a|2006-01-02", "for a time.Time a layout"),
		badTemplate[time.Time]("k-<a|nope>", "a|nope", "a layout such as 2006-01-02"),
		badTemplate[time.Time]("k-<a|hash|2006>", "a|hash|2006", "there is no filter"),
		badTemplate[int]("k-<a|lower>", "a|lower", "works on texts alone"),
	})
}

type (
	keyFails  struct{}
	keyPanics struct{}
)

var errKeyText = errors.New("no text")

func (keyFails) MarshalText() ([]byte, error)  { return nil, errKeyText }
func (keyPanics) MarshalText() ([]byte, error) { panic("no text") }

func renderError[K any](text string, args K, placeholder, words string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		tpl, err := New[K](text)
		if err != nil {
			t.Fatal(err)
		}
		key, err := tpl.Render("p:", args)
		if key != "" {
			t.Errorf("%q: key %q beside the error", text, key)
		}
		wantTemplateError(t, err, text, placeholder, words)
	}
}

func TestTemplateRenderErrors(t *testing.T) {
	type args struct{ ID int }
	type point struct{ X, Y float64 }
	nan := math.NaN()
	runCases(t, []func(*testing.T){
		renderError("k-<x>", nan, "x", "a NaN equals no value"),
		renderError("k-<x>", float32(nan), "x", "a NaN equals no value"),
		renderError("k-<x>", complex(0, nan), "x", "a NaN equals no value"),
		renderError("k-<x>", complex64(complex(nan, 0)), "x", "a NaN equals no value"),
		renderError("k-<x>", []float64{0, nan}, "x", "a NaN equals no value"),
		renderError("k-<x>", map[float64]int{nan: 1}, "x", "a NaN equals no value"),
		renderError("k-<x>", map[int]float64{1: nan}, "x", "a NaN equals no value"),
		renderError("k-<p>", struct{ P point }{point{0, nan}}, "p", "its field y: a NaN"),
		renderError("k-<x|hash>", nan, "x|hash", "a NaN equals no value"),
		renderError("k-<x|hash>", []float64{nan}, "x|hash", "a NaN equals no value"),
		renderError("k-<x>", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "x", "between 0 and 9999"),
		renderError("k-<x|2006>", time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), "x|2006", "between 0 and 9999"),
		renderError("k-<x>", keyFails{}, "x", "keytemplate.keyFails.MarshalText: no text"),
		renderError("k-<x|hash>", &keyFails{}, "x|hash", "no text"),
		renderError("k-<x>", keyPanics{}, "x", "keytemplate.keyPanics.MarshalText panicked: no text"),
		renderError("k-<id>", (*args)(nil), "", "a nil pointer"),
		renderError("k-<id>", new((*args)(nil)), "", "a nil pointer"),
		renderError("k-<x>", (*struct{ X []int })(nil), "", "a nil pointer"),
	})
	tpl, _ := New[keyFails]("k-<x>")
	if _, err := tpl.Render("", keyFails{}); !errors.Is(err, errKeyText) {
		t.Errorf("the marshaler's error is lost: %v", err)
	}
}
