package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// A Server is a redis-server process of the test's own. Its methods are safe for concurrent use, may be called
// in any order and any number of times, and report what goes wrong to the test.
type Server struct {
	t    testing.TB
	path string
	dir  string
	args []string // after the configuration file
	port int

	mu   sync.Mutex
	proc *process
}

// Start starts a server and returns when it answers. config adds lines of redis.conf, such as "maxmemory 1mb".
// Without them the server keeps nothing on disk. It needs [Need].
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	s := newServer(t)
	if err := s.start(config); err != nil {
		t.Fatal(err)
	}
	return s
}

func newServer(t testing.TB, args ...string) *Server {
	t.Helper()
	s := &Server{t: t, path: Need(t), dir: t.TempDir(), args: args}
	t.Cleanup(s.Kill) // before the folder goes
	return s
}

// start looks for a port until the server can have it.
func (s *Server) start(config []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	for range 5 {
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = os.WriteFile(s.file("redis.conf"), s.config(config), 0o600); err != nil {
			return err
		}
		if err = s.launch(); !errors.Is(err, errEnded) {
			return err
		}
	}
	return err
}

func (s *Server) config(lines []string) []byte {
	base := []string{
		"bind 127.0.0.1",
		"port " + strconv.Itoa(s.port),
		"dir " + strconv.Quote(s.dir),
		`save ""`,
		"appendonly no",
	}
	return []byte(strings.Join(append(base, lines...), "\n") + "\n")
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

var errEnded = errors.New("redis-server ended at once")

// launch starts the process and waits until it answers. The caller holds mu.
func (s *Server) launch() error {
	log, err := os.Create(s.file("redis.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	proc, err := spawn(s.path, s.dir, log, append([]string{s.file("redis.conf")}, s.args...)...)
	if err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	s.proc = proc
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = await(ctx, func() error {
		if !s.proc.alive() {
			return nil
		}
		return s.answers(ctx)
	})
	if !s.proc.alive() {
		err = errEnded
	}
	if err != nil {
		s.proc.kill()
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("redis-server on port %d: %w; its log:\n%s", s.port, err, bytes.TrimSpace(text))
	}
	return nil
}

// answers checks that it is our process which answers, not one that took the port first.
func (s *Server) answers(ctx context.Context) error {
	conn, err := net.Dial("tcp", s.Addr()) // go-redis would log each refused connection
	if err != nil {
		return err
	}
	_ = conn.Close()
	return s.do(func(rdb *redis.Client) error {
		info, err := rdb.Info(ctx, "server").Result()
		if err != nil {
			return err
		}
		if want := fmt.Sprintf("process_id:%d\r\n", s.proc.cmd.Process.Pid); !strings.Contains(info, want) {
			return fmt.Errorf("another server has port %d", s.port)
		}
		return nil
	})
}

// do lends f a client that sends nothing but HELLO and f's commands, to keep [Server.Calls] clean.
func (s *Server) do(f func(rdb *redis.Client) error) error {
	rdb := redis.NewClient(&redis.Options{
		Addr:                     s.Addr(),
		Protocol:                 2,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		MaxRetries:               -1,
		ContextTimeoutEnabled:    true,
	})
	defer rdb.Close()
	return f(rdb)
}

// Addr is the server's address, the same after [Server.Restart].
func (s *Server) Addr() string { return loopback(s.port) }

// Client gives a client with go-redis' defaults, closed at the end of the test.
func (s *Server) Client(t testing.TB, opts ...func(*redis.Options)) *redis.Client {
	return NewClient(t, s.Addr(), opts...)
}

// Kill ends the server with SIGKILL, stopped or not, and returns when it is gone: connections are then refused.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		s.proc.kill()
	}
}

// Stop halts the server with SIGSTOP: it still accepts connections but answers nothing. It does nothing to a
// server that is dead.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.signal(sigStop) {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pid := s.proc.cmd.Process.Pid
	if err := await(ctx, func() error {
		if !stopped(pid) {
			return errors.New("still running")
		}
		return nil
	}); err != nil {
		s.t.Errorf("stop redis-server: %v", err)
	}
}

// Cont lets a stopped server go on.
func (s *Server) Cont() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signal(sigCont)
}

// signal says whether there was a process to signal. The caller holds mu.
func (s *Server) signal(sig os.Signal) bool {
	if s.proc == nil || !s.proc.alive() {
		return false
	}
	err := s.proc.cmd.Process.Signal(sig)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("signal redis-server: %v", err)
	}
	return err == nil
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && s.proc.alive()
}

// Restart kills the server if it lives and starts it anew on the same port: with empty data, if config
// given to [Start] does not persist it.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc.kill()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := await(ctx, s.launch); err != nil { // the port may be taken for a moment
		s.t.Errorf("restart: %v", err)
	}
}

// Flush deletes all keys.
func (s *Server) Flush() {
	s.run(func(ctx context.Context, rdb *redis.Client) error { return rdb.FlushAll(ctx).Err() })
}

// Calls gives the number of calls of each command (in lower case, subcommands as "config|get") since the start or
// [Server.ResetCalls], from INFO commandstats. Commands that a script called count beside the script's own
// call. INFO, HELLO and CONFIG RESETSTAT are left out: Calls and ResetCalls use them.
func (s *Server) Calls() map[string]int {
	var info string
	s.run(func(ctx context.Context, rdb *redis.Client) (err error) {
		info, err = rdb.Info(ctx, "commandstats").Result()
		return err
	})
	return parseCalls(info)
}

// ResetCalls sets the counters of [Server.Calls] to zero.
func (s *Server) ResetCalls() {
	s.run(func(ctx context.Context, rdb *redis.Client) error { return rdb.ConfigResetStat(ctx).Err() })
}

func (s *Server) run(f func(ctx context.Context, rdb *redis.Client) error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.do(func(rdb *redis.Client) error { return f(ctx, rdb) }); err != nil {
		s.t.Errorf("redis-server on port %d: %v", s.port, err)
	}
}

// parseCalls reads lines like "cmdstat_get:calls=3,usec=12,…".
func parseCalls(info string) map[string]int {
	calls := make(map[string]int)
	for line := range strings.Lines(info) {
		name, stats, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		n, _, _ := strings.Cut(stats, ",")
		if ok {
			calls[name], _ = strconv.Atoi(n)
		}
	}
	for _, own := range []string{"info", "hello", "config|resetstat"} {
		delete(calls, own)
	}
	return calls
}
