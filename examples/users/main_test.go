package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// asMain makes the test binary run main: so the tests have the real program without building it again.
const asMain = "USERS_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) == "1" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A listener that says when it is closed.
type listener struct {
	net.Listener
	closed chan struct{}
	once   sync.Once
}

func (l *listener) Close() error {
	defer l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// A signal lets a request that is under way finish, and nothing new in.
func TestShutdown(t *testing.T) {
	i := newInstance(t, cachify.Memory(), newDB(t))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{Listener: tcp, closed: make(chan struct{})}
	url := "http://" + l.Addr().String() + "/users/42"
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, l, i.handler, slog.New(slog.DiscardHandler)) }()

	entered, release := i.hold()
	answer := make(chan response, 1)
	go func() { answer <- send(t.Context(), "PUT", url, ann) }()
	receive(t, entered)
	cancel()
	receive(t, l.closed)
	if late := send(t.Context(), "GET", url, ""); late.err == nil {
		t.Fatalf("a request after the signal was answered: %+v", late)
	}
	select {
	case err := <-ended:
		t.Fatalf("serve has returned with a request under way: %v", err)
	default:
	}
	release()
	got := receive(t, answer)
	got.check(t, "PUT", http.StatusOK)
	if err := receive(t, ended); err != nil {
		t.Fatal(err)
	}
}

// A process is the program itself in a process of its own.
type process struct {
	url string
	cmd *exec.Cmd
}

func startProcess(t *testing.T, redisURL, tmp string, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), asMain+"=1", "REDIS_URL="+redisURL, "TMPDIR="+tmp)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		if m := regexp.MustCompile(`listening url=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			go func() { _, _ = io.Copy(io.Discard, stderr) }()
			return &process{url: m[1], cmd: cmd}
		}
	}
	t.Fatal("the program ended before it listened")
	return nil
}

// stop sends SIGTERM; the program must then end without an error.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// awaitKey asks Redis until it has key: nothing else tells what another process is at.
func awaitKey(t *testing.T, rdb *redis.Client, key string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if n, err := rdb.Exists(t.Context(), key).Result(); err == nil && n == 1 {
			return
		}
	}
	t.Fatalf("%s never came", key)
}

// Two real processes on one Redis and one database, and a signal while an update is under way.
func TestTwoProcesses(t *testing.T) {
	rdb, mini := redistest.Mini(t)
	db := newDB(t)
	a := startProcess(t, "redis://"+mini.Addr(), t.TempDir(), "-db", db, "-delay", "500ms")
	b := startProcess(t, "redis://"+mini.Addr(), t.TempDir(), "-db", db)
	expect := func(method, url, body string, status int, want string) {
		t.Helper()
		got := send(t.Context(), method, url, body)
		got.check(t, method+" "+url, status)
		if !strings.Contains(got.body, want) {
			t.Fatalf("%s %s: %s, want %s", method, url, got.body, want)
		}
	}
	expect("GET", b.url+"/users/42", "", http.StatusOK, "User 42")
	expect("PUT", a.url+"/users/42", ann, http.StatusOK, "Ann")
	expect("GET", b.url+"/users/42", "", http.StatusOK, "Ann")

	answer := make(chan response, 1)
	go func() {
		answer <- send(t.Context(), "PUT", a.url+"/users/42", `{"name":"Eve","email":"eve@example.com"}`)
	}()
	awaitKey(t, rdb, "users:once:update_user-42") // from now on A has the lock for half a second
	a.stop(t)
	got := receive(t, answer)
	got.check(t, "PUT", http.StatusOK)
	expect("GET", b.url+"/users/42", "", http.StatusOK, "Eve")
	b.stop(t)
}

// Without any setting the program makes a database, and takes it away again.
func TestDefaults(t *testing.T) {
	tmp := t.TempDir()
	p := startProcess(t, "", tmp)
	got := send(t.Context(), "GET", p.url+"/users/20000", "")
	got.check(t, "GET", http.StatusOK)
	if left, _ := filepath.Glob(filepath.Join(tmp, "*", "users.db")); len(left) != 1 {
		t.Errorf("while it runs there is %v", left)
	}
	p.stop(t)
	if left, _ := os.ReadDir(tmp); len(left) != 0 {
		t.Errorf("it has left %v", left)
	}
}

func TestBadSettings(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, test := range map[string]struct {
		cfg  config
		want string
	}{
		"delay":   {config{addr: "127.0.0.1:0", delay: -1}, "-delay"},
		"address": {config{addr: taken.Addr().String()}, "in use"},
		"redis":   {config{addr: "127.0.0.1:0", redisURL: "http://:secret@localhost:6379"}, "REDIS_URL"},
		"port":    {config{addr: "127.0.0.1:0", redisURL: "redis://:secret@localhost:port"}, "REDIS_URL"},
		"db":      {config{addr: "127.0.0.1:0", db: filepath.Join(t.TempDir(), "no", "such", "folder.db")}, "folder.db"},
	} {
		err := run(t.Context(), test.cfg, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}
