package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/go-cachify/cachify"
)

// A scene has A and B increment a counter. A is paused between its read and its write, and loses its lock to B meanwhile.
type scene struct {
	lock  *cachify.Lock[string]
	table *counters
	out   io.Writer
}

// A reader gives a counter to a holder with a fencing token.
type reader func(ctx context.Context, name string, fence int64) (int64, error)

// An actor is a holder of the lock who has read the counter.
type actor struct {
	name  string
	lease *cachify.Lease
	fence int64
	value int64
}

func (s *scene) play(ctx context.Context, counter string, read reader) error {
	a, err := s.enter(ctx, "A", counter, read)
	if err != nil {
		return err
	}
	// While a process is paused its lock expires. Nobody wants to wait for that here, so it is released by force, and
	// what it does later is what a paused process does when it goes on: it has not looked at its clock yet.
	s.say("A is paused, and its lock ends")
	if err := s.lock.Release(ctx, counter); err != nil {
		return err
	}
	b, err := s.enter(ctx, "B", counter, read)
	if err != nil {
		return err
	}
	accepted := 0
	for _, holder := range []actor{a, b} {
		ok, err := s.write(ctx, holder, counter)
		if err != nil {
			return err
		}
		if ok {
			accepted++
		}
	}
	value, err := s.table.readUnchecked(ctx, counter, 0)
	s.say("accepted writes: %d, the counter: %d", accepted, value)
	return errors.Join(err, b.lease.Release(ctx)) // A has nothing to release any more
}

// enter takes the lock and reads the counter.
func (s *scene) enter(ctx context.Context, name, counter string, read reader) (actor, error) {
	lease, err := s.lock.Acquire(ctx, counter)
	if err != nil {
		return actor{}, err
	}
	fence, err := lease.Fence(ctx)
	if err != nil {
		return actor{}, err
	}
	value, err := read(ctx, counter, fence)
	s.say("%s takes the lock and reads %d", name, value)
	return actor{name, lease, fence, value}, err
}

// write says whether the store took it.
func (s *scene) write(ctx context.Context, a actor, counter string) (accepted bool, err error) {
	err = s.table.write(ctx, counter, a.value+1, a.fence)
	switch {
	case err == nil:
		s.say("%s writes %d", a.name, a.value+1)
	case errors.Is(err, errStale):
		s.say("%s wants to write %d and is turned away", a.name, a.value+1)
		return false, nil
	}
	return err == nil, err
}

func (s *scene) say(format string, args ...any) { fmt.Fprintf(s.out, "  "+format+"\n", args...) }
