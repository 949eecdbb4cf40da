package exclusion_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A fleet is some processes of holders. A process that is killed is replaced.
type fleet struct {
	t   testing.TB
	dir string

	mu      sync.Mutex
	running []*process
	all     []*process
}

// startFleet starts n processes for each task, which end with the test.
func startFleet(t testing.TB, n int, tasks ...task) *fleet {
	t.Helper()
	f := &fleet{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		for _, p := range f.all {
			p.kill() // most have ended
			_ = p.log.Close()
		}
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	for range n {
		for _, task := range tasks {
			f.running = append(f.running, f.start(task))
		}
	}
	return f
}

// start needs f.mu.
func (f *fleet) start(task task) *process {
	f.t.Helper()
	n := strconv.Itoa(len(f.all) + 1)
	task.Log = filepath.Join(f.dir, n)
	p, err := startProcess("process "+n, task)
	noError(f.t, err)
	f.all = append(f.all, p)
	return p
}

// kill kills one of the processes and replaces it.
func (f *fleet) kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := rand.N(len(f.running))
	f.running[i].kill()
	f.running[i] = f.start(f.running[i].task)
}

// pause stops a process that holds a lock, calls wait, and lets it go on. It may be called by several goroutines.
func (f *fleet) pause(wait func(*process) error) error {
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(100 * time.Microsecond) {
		p := f.running[rand.N(len(f.running))]
		if paused, err := p.pause(wait); paused || err != nil {
			return err
		}
	}
	return errors.New("nobody takes a lock")
}

// mustRun ends the test if a process has ended that nobody has killed.
func (f *fleet) mustRun() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.running {
		select {
		case <-p.done:
			f.t.Fatalf("%s has ended: %v", p.name, p.err)
		default:
		}
	}
}

// holdings is how many there have been until now.
func (f *fleet) holdings() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.all {
		n += p.log.Holdings()
	}
	return n
}

// end has the processes give everything back and waits for them.
func (f *fleet) end() {
	f.t.Helper()
	for _, p := range f.running {
		_ = p.input.Close()
	}
	for _, p := range f.running {
		if err := p.end(); err != nil {
			f.t.Errorf("%s: %v", p.name, err)
		}
	}
}
