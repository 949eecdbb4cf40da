package exclusion_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/exclusion"
)

const taskEnv = "CACHIFY_EXCLUSION_TASK"

// A task is what a process of holders is told, in its environment.
type task struct {
	Mode       string // of modes
	Addr       string // of the server
	Log        string
	Keys       int
	Goroutines int
	Processors int             // 0: all
	Timeouts   []time.Duration // of requests, one for each client
	Counter    string          // the file
	Guard      guard           // of the counter
}

// modes are what processes of holders can do. Each is called again and again by several goroutines.
var modes = map[string]func(h *holder, ctx context.Context){
	"lock":      (*holder).lockTurn,
	"semaphore": (*holder).semaphoreTurn,
	"unlocked":  (*holder).unlockedTurn,
	"blind":     (*holder).blindTurn,
	"paused":    (*holder).pausedTurn,
	"counter":   (*holder).counterTurn,
}

// A holder is a process of holders, or what stands for one within the process of the test.
type holder struct {
	task
	log        *exclusion.Log
	counter    *counter
	locks      []lock
	semaphores []semaphore
	mortal     *cachify.Lock[int] // never renewed
	fenced     *cachify.Lock[int]
}

type lock struct {
	*cachify.Lock[int]
	renewed, fenced bool
}

type semaphore struct {
	*cachify.Semaphore[int]
	renewed bool
}

// runTask is the process: it goes on until its standard input ends, and then gives everything back.
func runTask(text string) {
	h := &holder{}
	err := json.Unmarshal([]byte(text), &h.task)
	if err == nil {
		err = h.runProcess()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "holders:", err)
		os.Exit(1)
	}
}

func (h *holder) runProcess() (err error) {
	runtime.GOMAXPROCS(h.Processors)
	if h.log, err = exclusion.OpenLog(h.Log); err != nil {
		return err
	}
	defer h.log.Close()
	if h.Counter != "" {
		if h.counter, err = openCounter(h.Counter, h.Guard); err != nil {
			return err
		}
		defer h.counter.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	rdb := redis.NewClient(&redis.Options{Addr: h.Addr})
	h.run(ctx, func() cachify.Store { return cachify.Redis(rdb) })
	return errors.Join(rdb.Close(), goleak.Find())
}

// run holds until ctx ends.
func (h *holder) run(ctx context.Context, store func() cachify.Store) {
	for _, timeout := range h.Timeouts {
		c := cachify.New(store(), &cachify.Options{Prefix: prefix, OpTimeout: timeout, Logger: slog.New(slog.DiscardHandler)})
		defer c.Close()
		h.use(c)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { h.watchStalls(ctx) })
	for range h.Goroutines {
		wg.Go(func() {
			for ctx.Err() == nil {
				modes[h.Mode](h, ctx)
			}
		})
	}
}

// use makes locks of all kinds. They have the same keys.
func (h *holder) use(c *cachify.Client) {
	for _, opts := range []cachify.LockOptions{
		{TTL: ttl},
		{TTL: ttl, NoRenew: true},
		{TTL: ttl, Wait: ttl / 5},
		{TTL: ttl, Wait: ttl / 2, NoRenew: true},
		{TTL: ttl, MaxHold: ttl * 3 / 2},
	} {
		renewed := !opts.NoRenew && opts.MaxHold == 0
		h.semaphores = append(h.semaphores, semaphore{cachify.Must(cachify.NewSemaphore[int](c, "key-<key>", size, &opts)), renewed})
		h.locks = append(h.locks, lock{newLock(c, opts), renewed, false})
		opts.Fenced = true
		h.locks = append(h.locks, lock{newLock(c, opts), renewed, true})
	}
	h.mortal = newLock(c, cachify.LockOptions{TTL: ttl, NoRenew: true})
	h.fenced = newLock(c, cachify.LockOptions{TTL: ttl, Fenced: true})
}

func newLock(c *cachify.Client, opts cachify.LockOptions) *cachify.Lock[int] {
	return cachify.Must(cachify.NewLock[int](c, "key-<key>", &opts))
}

// watchStalls looks for stalls when nobody else does.
func (h *holder) watchStalls(ctx context.Context) {
	for p := h.pulse(); ctx.Err() == nil; p.beat() {
		time.Sleep(time.Millisecond)
	}
}

// A pulse writes down when a goroutine that does next to nothing for a millisecond at a time takes so long for it that a context, too, may
// end too late: it is to end a tenth of the TTL before it must. It may be only one of the process's threads that the machine
// does not run, so all who look have a pulse.
type pulse struct {
	log  *exclusion.Log
	last int64
}

func (h *holder) pulse() *pulse { return &pulse{h.log, exclusion.Now()} }

// beat gives the time.
func (p *pulse) beat() int64 {
	const long = int64(ttl / 30)
	now := exclusion.Now()
	if now-p.last > long {
		p.log.Stalled(p.last, now)
	}
	p.last = now
	return now
}
