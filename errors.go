package cachify

import (
	"errors"

	"github.com/go-cachify/cachify/internal/claim"
	"github.com/go-cachify/cachify/internal/keytemplate"
)

var (
	// ErrLocked means that somebody else holds the lock and the time to wait for it is over.
	// If the ctx ended the wait, the error is joined with ctx.Err().
	ErrLocked = errors.New("cachify: locked by another holder")

	// ErrLockLost means that a lock is no longer, or never was, its holder's: it expired, was released, or was
	// taken from it. It is also the cause (see [context.Cause]) with which the ctx of a function that runs
	// under a lock is cancelled.
	ErrLockLost = errors.New("cachify: the lock is no longer held")

	// ErrFull means that all slots of a semaphore are taken and the time to wait for one is over.
	ErrFull = errors.New("cachify: all slots are taken")

	// ErrWrongType means that the key of a lock or semaphore holds something of another kind, which waiting does not mend.
	ErrWrongType = claim.ErrWrongType

	// ErrClosed means that the client was closed before or during the call.
	ErrClosed = errors.New("cachify: the client is closed")
)

// A TemplateError says what is wrong with a key template, or with the arguments it is to be used with, and how
// to mend it. Constructors return it.
type TemplateError struct {
	Template    string // the whole template, as given
	Placeholder string // the placeholder or field concerned, empty if it is none in particular
	Err         error  // what is wrong and how to mend it
}

// Error gives the template, the placeholder and the mend in one line.
func (e *TemplateError) Error() string { return (*keytemplate.Error)(e).Error() }

// Unwrap returns Err.
func (e *TemplateError) Unwrap() error { return e.Err }
