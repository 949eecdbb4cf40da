package cachify

import (
	"errors"

	"github.com/go-cachify/cachify/internal/keytemplate"
)

// A template makes keys, or tags, of arguments of type K. Its errors are TemplateErrors.
type template[K any] struct {
	bound *keytemplate.Template[K]
}

func newTemplate[K any](text string) (*template[K], error) {
	bound, err := keytemplate.New[K](text)
	return &template[K]{bound}, templateError(err)
}

// newTagTemplate makes tags, which need not mention all of the arguments.
func newTagTemplate[K any](text string) (*template[K], error) {
	bound, err := keytemplate.NewTag[K](text)
	return &template[K]{bound}, templateError(err)
}

func (t *template[K]) text() string { return t.bound.Text() }

// render returns prefix and the key of args.
func (t *template[K]) render(prefix string, args K) (string, error) {
	key, err := t.bound.Render(prefix, args)
	return key, templateError(err)
}

func templateError(err error) error {
	if te, ok := errors.AsType[*keytemplate.Error](err); ok {
		return (*TemplateError)(te)
	}
	return err
}
