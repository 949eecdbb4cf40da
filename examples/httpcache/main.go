// Command httpcache is the JSON API of the example users, cached at the HTTP layer: its handlers know nothing of a cache but which tags
// their answers carry, and the cache is one middleware around all of them. Beside it there are a page of HTML, a stream of events
// and a download, which the same middleware leaves as they are.
//
//	GET  /users/{user_id}        reads a user, cached for five minutes
//	GET  /users?skip=0&limit=20  lists them, cached until the next write
//	POST /users/                 creates one
//	PUT  /users/{user_id}        updates one, and purges what shows it
//	GET  /                       a page, cached for an hour or until the next write
//	GET  /events                 server-sent events
//	GET  /export?rows=1000000    a download
//
// The users are in the memory of the process. So is the cache, unless REDIS_URL (redis://user:password@host:port/db) names a Redis.
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

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	delay := flag.Duration("delay", 0, "`time` that each look at the users takes, as that of a database would")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, *addr, *delay, os.Getenv("REDIS_URL")); err != nil {
		slog.Error("httpcache has failed", "error", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, addr string, delay time.Duration, redisURL string) (err error) {
	store, closeStore, err := openStore(redisURL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStore()) }()
	client := cachify.New(store, &cachify.Options{Prefix: "httpcache-example:"})
	defer func() { err = errors.Join(err, client.Close()) }()

	handler, err := newHandler(client, newUsers(delay))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	slog.Info("listening", "url", "http://"+listener.Addr().String(), "redis", redisURL != "")
	srv := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // so that streams end when the server is to
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return srv.Shutdown(end)
}

func openStore(redisURL string) (cachify.Store, func() error, error) {
	if redisURL == "" {
		return cachify.Memory(), func() error { return nil }, nil
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		// Without the cause, which repeats the URL: it may hold a password.
		return nil, nil, fmt.Errorf("REDIS_URL must look like redis://user:password@host:port/db")
	}
	opts.ContextTimeoutEnabled = true // a command takes no longer than its ctx
	rdb := redis.NewClient(opts)
	return cachify.Redis(rdb), rdb.Close, nil
}
