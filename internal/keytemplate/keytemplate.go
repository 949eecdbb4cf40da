// Package keytemplate makes keys of function arguments, as docs/keys.md describes.
package keytemplate

import (
	"fmt"
	"reflect"
)

// A Template renders arguments of type K to keys. It is parsed and bound to K once, at construction; every error,
// then and later, is an [*Error]. It is safe for concurrent use.
type Template[K any] struct {
	program keyProgram
}

// An Error says what is wrong with a template or with its arguments, and how to mend it.
type Error struct {
	Template    string
	Placeholder string // empty if it is none in particular
	Err         error
}

func (e *Error) Error() string {
	if e.Placeholder == "" {
		return fmt.Sprintf("cachify: template %q: %v", e.Template, e.Err)
	}
	return fmt.Sprintf("cachify: template %q: <%s>: %v", e.Template, e.Placeholder, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// New binds text to K. Each exported field of K must be mentioned or excluded, and a K that has no fields needs one
// placeholder: an argument that is not in the key would make two calls share one result.
func New[K any](text string) (*Template[K], error) { return bind[K](text, ofKey) }

// NewTag is New for tags. They group calls on purpose, so they need not mention all of K. They are compared with
// what people write by hand, so texts in them are not escaped, and long ones not cut.
func NewTag[K any](text string) (*Template[K], error) { return bind[K](text, ofTag) }

func bind[K any](text string, use use) (*Template[K], error) {
	program, err := newKeyProgram(text, reflect.TypeFor[K](), use)
	if err != nil {
		return nil, err
	}
	return &Template[K]{program}, nil
}

// Text gives the template as it was written.
func (t *Template[K]) Text() string { return t.program.source }

// Render gives prefix and the key of args. Different args give different keys, equal args one key.
func (t *Template[K]) Render(prefix string, args K) (string, error) {
	if t.program.reflects {
		// Marshalers and reflection may keep a pointer to what they read: they get a copy on the heap.
		held := args
		return t.program.renderReflecting(prefix, refTo(&held))
	}
	return t.program.renderPlain(prefix, refTo(&args))
}
