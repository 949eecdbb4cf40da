package cachify

import "reflect"

// A template renders arguments of type K to keys, as docs/keys.md describes. It is parsed and bound to K once, at
// construction; every error, then and later, is a [*TemplateError]. It is safe for concurrent use.
type template[K any] struct {
	program keyProgram
}

// newTemplate binds text to K. Each exported field of K must be mentioned or excluded, and a K that has no fields
// needs one placeholder: an argument that is not in the key would make two calls share one result.
func newTemplate[K any](text string) (*template[K], error) { return bindTemplate[K](text, true) }

// newTagTemplate is newTemplate for tags: they group calls on purpose, so they need not mention all of K.
func newTagTemplate[K any](text string) (*template[K], error) { return bindTemplate[K](text, false) }

func bindTemplate[K any](text string, strict bool) (*template[K], error) {
	program, err := newKeyProgram(text, reflect.TypeFor[K](), strict)
	if err != nil {
		return nil, err
	}
	return &template[K]{program}, nil
}

// text gives the template as it was written.
func (t *template[K]) text() string { return t.program.source }

// render gives prefix and the key of args. Different args give different keys, equal args one key.
func (t *template[K]) render(prefix string, args K) (string, error) {
	if t.program.reflects {
		// Marshalers and reflection may keep a pointer to what they read: they get a copy on the heap.
		held := args
		return t.program.renderReflecting(prefix, refTo(&held))
	}
	return t.program.renderPlain(prefix, refTo(&args))
}
