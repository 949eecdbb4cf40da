package cachify

import (
	"errors"
	"fmt"
	"strings"
)

// namedErrors is how many of its errors the text of a BatchError has.
const namedErrors = 3

// A BatchError says which arguments of a call for many failed, and why. It is what [Cached.GetMany], [Cached.ResetMany],
// [Cached.PutMany] and [Cached.Warm] return where any failed; [errors.As] finds it. What the call did for the other arguments stands, and
// GetMany returns their values beside it.
//
// A [BatchFunc] may return one as well, to say for which arguments it has no value.
type BatchError struct {
	// Errs has one error for each argument of the call, in their order: nil where it succeeded. Arguments of one key share one.
	Errs []error
}

// Error counts the arguments that failed, and gives the first three errors that differ.
func (e *BatchError) Error() string {
	failed, named, more := 0, make([]string, 0, namedErrors), ""
	seen := make(map[string]bool)
	for _, err := range e.Errs {
		if err == nil {
			continue
		}
		failed++
		if more != "" {
			continue
		}
		text := strings.TrimPrefix(err.Error(), "cachify: ")
		switch {
		case seen[text]:
		case len(named) == namedErrors:
			more = "; and more"
		default:
			seen[text] = true
			named = append(named, text)
		}
	}
	return fmt.Sprintf("cachify: %d of %d arguments failed: %s%s", failed, len(e.Errs), strings.Join(named, "; "), more)
}

// Unwrap returns the errors of those that failed, for [errors.Is] and [errors.As].
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// batchErrorOf makes sense of the error of a batch function for n arguments. What it returns is a *BatchError for n if the function
// has said which of them failed; nil if none did; else it is the error of them all.
func batchErrorOf(err error, n int) error {
	var batch *BatchError
	switch {
	case !errors.As(err, &batch):
		return err
	case len(batch.Errs) != n:
		return fmt.Errorf("cachify: the batch function returned a BatchError of %d errors for %d arguments: it must have one for each, nil where there is none: %w",
			len(batch.Errs), n, err)
	case len(batch.Unwrap()) == 0:
		return nil
	}
	return batch
}

// errorAt gives the error of one of the arguments, of an err that batchErrorOf has made sense of.
func errorAt(err error, i int) error {
	if batch, ok := err.(*BatchError); ok { // not by errors.As: else it would be the error of them all
		return batch.Errs[i]
	}
	return err
}
