//go:build unix

package locks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// orders tell a child what to do.
type orders struct {
	Locker  string
	Addr    string
	Waiters int
	Hold    time.Duration
}

// A wait is one acquisition by one waiter, and the holding that it led to. The times are those of now; 0 is not reached.
type wait struct {
	Process, Waiter int
	Asked           time.Duration // just before the lock was asked for
	Got             time.Duration // just after it was there
	Done            time.Duration // just before its release was called
}

// carryOut is the life of a child: it gets ready, begins when told to, and reports when told to stop.
func (o orders) carryOut() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	lock := lockers[o.Locker](o.Addr)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	release, err := lock(ctx, fmt.Sprintf("warm-up-%d", os.Getpid())) // connects, and has the server know the scripts
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	release()
	if out.Encode(true) != nil || in.Decode(new(bool)) != nil {
		return // the parent has gone
	}
	waits := make([][]wait, o.Waiters)
	var all sync.WaitGroup
	for i := range waits {
		all.Go(func() { waits[i] = o.takeTurns(ctx, lock, i) })
	}
	_ = in.Decode(new(bool)) // also if the parent has gone
	cancel()
	all.Wait()
	_ = out.Encode(waits)
}

// takeTurns is the life of one waiter.
func (o orders) takeTurns(ctx context.Context, lock locker, waiter int) (waits []wait) {
	for {
		w := wait{Waiter: waiter, Asked: now()}
		release, err := lock(ctx, "one")
		if err == nil {
			w.Got = now()
			time.Sleep(o.Hold)
			w.Done = now()
			release()
		} else if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, o.Locker, err)
		}
		waits = append(waits, w)
		if ctx.Err() != nil {
			return waits
		}
	}
}
