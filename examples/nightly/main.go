// Command nightly runs a job once a night, however many instances of the program there are: each of them starts it
// at the same time, and a cachify.Once with Keep lets one of them through. If that one fails or is stopped in the middle,
// one that stands by takes over.
//
// The lock is in the process unless REDIS_URL (redis://user:password@host:port/db, or rediss:// for TLS) names a Redis. Only
// there it keeps other processes out.
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/redis/go-redis/v9"
)

type config struct {
	at       string
	every    time.Duration
	takes    time.Duration
	standBy  time.Duration
	redisURL string
}

func main() {
	cfg := config{redisURL: os.Getenv("REDIS_URL")}
	flag.StringVar(&cfg.at, "at", "03:00", "`time` of day at which the job runs, in UTC")
	flag.DurationVar(&cfg.every, "every", 0, "`time` between two runs, in place of -at, for trying it out")
	flag.DurationVar(&cfg.takes, "takes", time.Second, "`time` that the job takes")
	flag.DurationVar(&cfg.standBy, "standby", 0, "`time` for which the other instances stand by in case that the job fails (default a minute, at most half of the time between two runs)")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, cfg, slog.Default()); err != nil {
		slog.Error("nightly has failed", "error", err)
		os.Exit(1)
	}
}

// run is the program, until ctx ends. It closes everything in the reverse order.
func run(ctx context.Context, cfg config, log *slog.Logger) (err error) {
	s, err := cfg.schedule()
	if err != nil {
		return err
	}
	if cfg.standBy == 0 {
		cfg.standBy = min(time.Minute, s.every/2)
	}
	store, closeStore, err := openStore(cfg.redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	client := cachify.New(store, &cachify.Options{Prefix: "nightly:", Logger: log})
	defer func() { err = errors.Join(err, client.Close()) }()

	i, err := newInstance(client, s, cfg.standBy, log, func(ctx context.Context, _ Night) error {
		return sleep(ctx, cfg.takes) // this stands for the work; like all work under a lock, it heeds its ctx
	})
	if err != nil {
		return err
	}
	i.run(ctx)
	return nil
}

func (c config) schedule() (schedule, error) {
	switch {
	case c.every < 0 || c.takes < 0:
		return schedule{}, errors.New("-every and -takes must not be negative")
	case c.every > 0:
		return schedule{every: c.every}, nil
	}
	return daily(c.at)
}

// openStore chooses where the lock lives. Nothing else in this program knows which it is.
func openStore(redisURL string) (cachify.Store, func() error, error) {
	if redisURL == "" {
		return cachify.Memory(), func() error { return nil }, nil
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		// Without the cause, which repeats the URL: it may hold a password.
		return nil, nil, errors.New("REDIS_URL must look like redis://user:password@host:port/db")
	}
	rdb := redis.NewClient(opts)
	return cachify.Redis(rdb), rdb.Close, nil
}
