package main

import (
	"context"
	"fmt"
	"time"
)

// A schedule is due again and again: every so often, counted from midnight UTC, plus an offset. All instances that have the
// same schedule agree on the times, which is why it knows nothing of time zones.
type schedule struct{ every, offset time.Duration }

// daily gives the schedule that is due each day at a time such as "03:00", in UTC.
func daily(at string) (schedule, error) {
	t, err := time.Parse("15:04", at)
	if err != nil {
		return schedule{}, fmt.Errorf("-at is %q: it must be a time such as 03:00, in UTC", at)
	}
	return schedule{24 * time.Hour, time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute}, nil
}

// next gives the first time after now at which the schedule is due, without a monotonic clock reading.
func (s schedule) next(now time.Time) time.Time {
	return now.UTC().Add(-s.offset).Truncate(s.every).Add(s.every + s.offset)
}

// sleepUntil waits until the wall clock shows t. It looks there once a minute, since a timer of hours would be late
// after the machine was suspended, or its clock was set.
func sleepUntil(ctx context.Context, t time.Time) error {
	for {
		left := time.Until(t)
		if left <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, min(left, time.Minute)); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
