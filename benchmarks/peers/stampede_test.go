//go:build unix

package peers

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

const (
	processes = 4
	callers   = 250 // of each process
)

// orders are what a child is told when it starts.
type orders struct {
	Addr, Library string
	Load          time.Duration
}

// A signal has a child's callers ask for a key at a moment.
type signal struct {
	Key int64
	At  time.Time
}

type report struct {
	Loads int64
	Waits []time.Duration
	Error string
}

var child *orders // in a child

// stampede has callers in several processes ask for one cold key at the same moment.
func (b *bench) stampede(t *testing.T) {
	teams := make(map[string][]*process)
	var names []string
	for _, p := range peers[small]() {
		if p.memory || p.hits {
			continue
		}
		for range processes {
			teams[p.name] = append(teams[p.name], startChild(t, orders{b.server.Addr(), p.name, b.load}))
		}
		names = append(names, p.name)
	}
	for round := range b.stampedes + 1 {
		for _, name := range names {
			loads, waits := rush(t, teams[name], int64(round))
			if round == 0 {
				continue // connections are made
			}
			b.run.Add("stampede", "", "loads", name, float64(loads))
			b.run.Add("stampede", "", "p50 ms", name, millis(percentile(waits, 0.50)))
			b.run.Add("stampede", "", "p99 ms", name, millis(percentile(waits, 0.99)))
		}
	}
}

func rush(t *testing.T, team []*process, key int64) (loads int64, waits []time.Duration) {
	at := time.Now().Add(30 * time.Millisecond)
	for _, p := range team {
		noError(t, p.in.Encode(signal{key, at}))
	}
	for _, p := range team {
		var r report
		noError(t, p.out.Decode(&r))
		if r.Error != "" {
			t.Fatal(r.Error)
		}
		loads += r.Loads
		waits = append(waits, r.Waits...)
	}
	return loads, waits
}

// A process is the parent's end of a child. They speak JSON.
type process struct {
	in  *json.Encoder
	out *json.Decoder
}

// startChild returns when the child is ready.
func startChild(t *testing.T, o orders) *process {
	t.Helper()
	text, err := json.Marshal(o)
	noError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	noError(t, err)
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // the only error: it has ended
		_ = cmd.Wait()         // how it ended is no news
	})
	p := &process{json.NewEncoder(in), json.NewDecoder(out)}
	noError(t, p.out.Decode(new(bool)))
	return p
}

// TestChild is what a child does. It ends with its parent's test, by a signal.
func TestChild(t *testing.T) {
	if child == nil {
		return // this process is the parent
	}
	var loads atomic.Int64
	c := openUsual(t, child.Library, child.Addr, func(context.Context, args) (small, error) {
		loads.Add(1)
		time.Sleep(child.Load)
		return newSmall(1), nil
	})
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for err := out.Encode(true); err == nil; {
		var s signal
		if err = in.Decode(&s); err != nil {
			return
		}
		loads.Store(0)
		r := askAll(t, c, s)
		r.Loads = loads.Load()
		err = out.Encode(r)
	}
}

// askAll has all callers of this process ask at the moment of the signal.
func askAll(t *testing.T, c *cache[small], s signal) report {
	r := report{Waits: make([]time.Duration, callers)}
	errs := make([]error, callers)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			<-start
			began := time.Now()
			_, errs[i] = c.get(t.Context(), user(s.Key))
			r.Waits[i] = time.Since(began)
		})
	}
	time.Sleep(time.Until(s.At))
	close(start)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			r.Error = err.Error()
		}
	}
	return r
}

// openUsual opens a library by its name, at its usual level.
func openUsual(t *testing.T, name, addr string, load loader[small]) *cache[small] {
	redistest.Need(t)
	for _, p := range peers[small]() {
		if p.name == name {
			return p.open(t, addr, p.usual, load)
		}
	}
	t.Fatal("no library is called", name)
	return nil
}
