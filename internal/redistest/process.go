package redistest

import (
	"os"
	"os/exec"
	"runtime"
)

// A process is one run of redis-server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once it has ended and was waited for
}

// spawn starts path in dir with its output in log.
//
// On Linux the kernel kills the process when the thread that started it exits, not when the test
// binary does (https://go.dev/issue/27505). So the goroutine that starts it keeps that thread for itself
// and waits there: the thread lives exactly as long as the process or the binary, whichever ends first.
func spawn(path, dir string, log *os.File, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, log, log
	p.cmd.SysProcAttr = dieWithParent()
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is no news: we kill it
		}
	}()
	return p, <-started
}

// kill ends the process, stopped or not, and returns when it is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error: it has ended
	<-p.done
}

func (p *process) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
