package exclusion_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-cachify/cachify/internal/exclusion"
)

// A process is one process of holders.
type process struct {
	name  string
	task  task
	cmd   *exec.Cmd
	input io.Closer // ends the process
	log   *exclusion.Log
	done  chan struct{}
	err   error // of Wait, once done

	mu     sync.Mutex       // held while it is paused
	pauses []exclusion.Span // from when it stood still until it was told to go on
}

// startProcess starts a process, which does its task until its input is closed.
func startProcess(name string, task task) (*process, error) {
	p := &process{name: name, task: task, done: make(chan struct{})}
	var err error
	if p.log, err = exclusion.OpenLog(task.Log); err != nil {
		return nil, err
	}
	text, err := json.Marshal(task)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), taskEnv+"="+string(text))
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // a stopped process would not see its input end
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // it is the thread's death that Pdeathsig means
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
	}()
	return p, <-started
}

// kill returns when the process is dead, whether it was running, stopped or dead already.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error: it has ended
	<-p.done
}

// end has the process give everything back and waits for it.
func (p *process) end() error {
	_ = p.input.Close()
	select {
	case <-p.done:
		return p.err
	case <-time.After(20 * time.Second):
		_ = p.cmd.Process.Signal(syscall.SIGQUIT) // which shows where it hangs
		<-p.done
		return fmt.Errorf("%s does not end", p.name)
	}
}

// pause stops the process if it holds a lock and nobody has stopped it, and lets it go on after wait. It says whether it has done so.
func (p *process) pause(wait func(*process) error) (bool, error) {
	if p.log.Held() == 0 || !p.mu.TryLock() {
		return false, nil
	}
	defer p.mu.Unlock()
	if err := p.stop(); err != nil {
		return false, err
	}
	if p.log.Held() == 0 {
		return false, p.cont()
	}
	err := wait(p)
	return true, errors.Join(err, p.cont())
}

// stop returns when the process stands still.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for !p.stopped() {
		time.Sleep(50 * time.Microsecond) // nothing tells of it
	}
	p.pauses = append(p.pauses, exclusion.Span{From: exclusion.Now()})
	return nil
}

// stopped looks at all threads of the process.
func (p *process) stopped() bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	for _, stat := range stats {
		text, err := os.ReadFile(stat)
		if err == nil && !strings.Contains(string(text), ") T ") { // a thread that has ended is stopped too
			return false
		}
	}
	return true
}

// cont lets a stopped process go on.
func (p *process) cont() error {
	p.pauses[len(p.pauses)-1].To = exclusion.Now()
	return p.cmd.Process.Signal(syscall.SIGCONT)
}
