package faulttest

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
)

// The environment of a process: which of children it is, and the server's address.
const (
	childEnv = "CACHIFY_FAULT_CHILD"
	addrEnv  = "CACHIFY_FAULT_ADDR"
)

// children are what the test binary runs as when it is started anew. Each speaks JSON with its parent over its standard input
// and output, and ends with its input, so it does not outlive its parent.
var children = map[string]func(addr string){
	"stampede": stampedeChild,
	"loader":   loaderChild,
	"waiter":   waiterChild,
}

// A process is the parent's end of a child.
type process struct {
	t   testing.TB
	cmd *exec.Cmd
	in  *json.Encoder
	out *json.Decoder
}

// startProcess starts a child and waits until it says that it is ready.
func startProcess(t testing.TB, mode, addr string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // a child that does not answer is an error, not for ever
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+mode, addrEnv+"="+addr)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	noError(t, err)
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	p := &process{t: t, cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}
	t.Cleanup(p.kill)
	var ready bool
	p.receive(&ready)
	return p
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // the only error: it has ended
	_ = p.cmd.Wait()         // how it ended is no news
}

func (p *process) send(message any) {
	p.t.Helper()
	noError(p.t, p.in.Encode(message))
}

func (p *process) receive(message any) {
	p.t.Helper()
	noError(p.t, p.out.Decode(message))
}

// A parent is the child's end.
type parent struct {
	in  *json.Decoder
	out *json.Encoder
}

func newParent() parent { return parent{json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)} }

// send ends the child if it fails: there is no parent any more.
func (p parent) send(message any) {
	if p.out.Encode(message) != nil {
		os.Exit(1)
	}
}

// receive says whether there was another message.
func (p parent) receive(message any) bool { return p.in.Decode(message) == nil }

// childClient gives a client for children, where the server is never away. A busy machine may let the many callers of a child
// wait for longer than the default timeout, and those would then rightly load for themselves.
func childClient(addr string) *cachify.Client {
	return cachify.New(cachify.Redis(redis.NewClient(&redis.Options{Addr: addr})),
		&cachify.Options{Prefix: "fault:", OpTimeout: 10 * time.Second, Logger: slog.New(slog.DiscardHandler)})
}
