//go:build unix

package locks

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// full says that scripts/locks-bench.sh is running.
var full = os.Getenv("CACHIFY_LOCKS_BENCH") == "full"

// childEnv is set to an orders in JSON for the processes that the test starts of itself.
const childEnv = "CACHIFY_LOCKS_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		var o orders
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		o.carryOut()
		return
	}
	os.Exit(m.Run())
}

// now is the time on a clock that all processes share, and that nobody sets.
func now() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// A process is the parent's end of a child. They speak JSON.
type process struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// start starts a child and waits until it is ready.
func start(t *testing.T, o orders) *process {
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
	p := &process{cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	t.Cleanup(p.kill)
	p.receive(t, new(bool))
	return p
}

func (p *process) send(t *testing.T) {
	t.Helper()
	noError(t, p.in.Encode(true))
}

func (p *process) receive(t *testing.T, message any) {
	t.Helper()
	noError(t, p.out.Decode(message))
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error: it has ended
	_ = p.cmd.Wait()         // how it ended is no news
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// percentile sorts d.
func percentile(d []time.Duration, p float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(int(p*float64(len(d))), len(d)-1)]
}
