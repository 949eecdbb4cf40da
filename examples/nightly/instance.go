package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-cachify/cachify"
)

// keepLonger is for how much longer than a period a night stays marked as done. It has to be more than the clocks of
// the instances differ by: who comes later than that would run the night again.
const keepLonger = time.Hour

// A Night is what the job is run for, and the whole of the lock's key. It is the time at which the job was due, not the time at
// which an instance got round to it: so all instances mean the same one, however late they are.
type Night struct{ Due time.Time }

// What has become of a night, as an instance sees it.
type outcome string

const (
	ranHere      outcome = "ran here"
	ranElsewhere outcome = "ran elsewhere"
)

// An instance runs the job when it is due, unless another instance of the fleet does.
type instance struct {
	schedule schedule
	once     *cachify.Once[Night, outcome]
	log      *slog.Logger
}

// newInstance makes an instance. standBy is how long it waits for another one that runs the job, to take over if that fails.
func newInstance(client *cachify.Client, s schedule, standBy time.Duration, log *slog.Logger, job func(context.Context, Night) error) (*instance, error) {
	if standBy < 0 || standBy >= s.every {
		return nil, fmt.Errorf("-standby is %v: it must be less than the time between two runs, %v", standBy, s.every)
	}
	run := func(ctx context.Context, night Night) (outcome, error) {
		log.Info("the job begins", "night", night.Due)
		return ranHere, job(ctx, night)
	}
	once, err := cachify.NewOnce(client, "job-<due>", run, &cachify.OnceOptions{
		TTL:  s.every + keepLonger,
		Keep: true, // once for each night, not just one at a time
		Wait: standBy,
	})
	if err != nil {
		return nil, err
	}
	return &instance{schedule: s, once: once.ReturnOnLocked(ranElsewhere), log: log}, nil
}

// run does its part until ctx ends. A job that is under way then is cancelled, and another instance takes over.
func (i *instance) run(ctx context.Context) {
	for ctx.Err() == nil {
		due := i.schedule.next(time.Now())
		i.log.Info("waiting", "next", due)
		if sleepUntil(ctx, due) != nil {
			return
		}
		i.night(ctx, Night{due})
	}
}

func (i *instance) night(ctx context.Context, night Night) {
	if late := time.Since(night.Due); late >= i.schedule.every {
		i.log.Warn("the night was missed", "night", night.Due, "late", late) // the machine was suspended
		return
	}
	out, err := i.once.Do(ctx, night)
	switch {
	case ctx.Err() != nil:
		i.log.Info("stopped", "night", night.Due, "error", err)
	case err != nil:
		i.log.Error("the job has failed", "night", night.Due, "error", err)
	default:
		i.log.Info("the job is done", "night", night.Due, "outcome", out)
	}
}
