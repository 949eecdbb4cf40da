package cachify

import (
	"errors"
	"fmt"
)

// Negative caching: an error of CachedOptions.Negative is remembered in an entry of its own kind, whose payload is the
// error's text. By the text it is found again in the list, in other processes and after a restart too.

func checkNegative(list []error) error {
	texts := make(map[string]bool, len(list))
	for i, err := range list {
		if err == nil {
			return fmt.Errorf("cachify: CachedOptions.Negative[%d] is nil: list errors such as sql.ErrNoRows", i)
		}
		if texts[err.Error()] {
			return fmt.Errorf("cachify: CachedOptions.Negative has two errors of the text %q, which could not be told apart", err)
		}
		texts[err.Error()] = true
	}
	return nil
}

// negativeOf gives the error of the list that err is, nil if it is none of them.
func (c *Cached[K, V]) negativeOf(err error) error {
	for _, negative := range c.opts.Negative {
		if errors.Is(err, negative) {
			return negative
		}
	}
	return nil
}

// negativeIn gives the error of the list that an entry holds, nil if it is not in the list any more.
func (c *Cached[K, V]) negativeIn(e *envelope) error { return c.negativeOfText(e.payload) }

func (c *Cached[K, V]) negativeOfText(text []byte) error {
	for _, negative := range c.opts.Negative {
		if negative.Error() == string(text) {
			return negative
		}
	}
	return nil
}
