// Command users is a small JSON API over SQLite that shows cachify in the place where services use it: reads
// and lists are cached, an update of a user runs only once at a time, and every write resets what it changed.
//
//	POST /users/               creates a user
//	GET  /users/{user_id}      reads one, cached for five minutes
//	PUT  /users/{user_id}      updates one; 226 IM Used while another update of the same user is under way
//	GET  /users?skip=0&limit=20  lists them, cached until the next write
//
// The cache is in the process unless REDIS_URL (redis://user:password@host:port/db, or rediss:// for TLS) names a Redis.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/redis/go-redis/v9"
)

// shutdownTimeout is how long requests under way have to end after a signal. It is more than requestTimeout, so none is cut off.
const shutdownTimeout = requestTimeout + 5*time.Second

type config struct {
	addr     string
	delay    time.Duration
	db       string
	redisURL string
}

func main() {
	cfg := config{redisURL: os.Getenv("REDIS_URL")}
	flag.StringVar(&cfg.addr, "addr", "127.0.0.1:8080", "`address` to listen on")
	flag.DurationVar(&cfg.delay, "delay", 0, "extra `time` that each database call takes, to see the cache and the lock at work")
	flag.StringVar(&cfg.db, "db", "", "SQLite `file`; instances that share a Redis must share it (default a temporary one)")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, cfg, slog.Default()); err != nil {
		slog.Error("users has failed", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends and then closes everything in the reverse order, so that nothing loses what it still uses.
func run(ctx context.Context, cfg config, log *slog.Logger) (err error) {
	if cfg.delay < 0 {
		return fmt.Errorf("-delay is %v: it must not be negative", cfg.delay)
	}
	if cfg.redisURL != "" && cfg.db == "" {
		log.Warn("a Redis is shared, a temporary database is not: give every instance the same -db file")
	}
	repo, err := openRepository(ctx, cfg.db, sleep(cfg.delay))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, repo.Close()) }()

	store, closeStore, err := openStore(cfg.redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()

	client := cachify.New(store, &cachify.Options{Prefix: "users:", Logger: log})
	defer func() { err = errors.Join(err, client.Close()) }()

	svc := newService(client, repo, log)
	if repo.seeded {
		svc.forgetAll(ctx) // a Redis may still know users of another database
	}
	listener, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	log.Info("listening", "url", "http://"+listener.Addr().String(), "redis", cfg.redisURL != "")
	return serve(ctx, listener, newHandler(svc, log), log)
}

// openStore chooses where the cache and the locks live. Nothing else in this program knows which it is.
func openStore(redisURL string) (cachify.Store, func() error, error) {
	if redisURL == "" {
		return cachify.Memory(), func() error { return nil }, nil
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		// Without the cause, which repeats the URL: it may hold a password.
		return nil, nil, errors.New("REDIS_URL must look like redis://user:password@host:port/db")
	}
	opts.ContextTimeoutEnabled = true // a command takes no longer than its ctx
	rdb := redis.NewClient(opts)
	return cachify.Redis(rdb), rdb.Close, nil
}

// serve answers requests until ctx ends, then lets those under way finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger) error {
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      requestTimeout + 10*time.Second,
		IdleTimeout:       2 * time.Minute,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("shutting down")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("shut down: %w", err), srv.Close())
	}
	return nil
}

// sleep returns a function that takes d, or until its ctx ends.
func sleep(d time.Duration) func(context.Context) error {
	return func(ctx context.Context) error {
		if d <= 0 {
			return nil
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
