package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// childEnv makes the test binary a process that starts redis-server without a test, says its process id, and
// hangs until it is killed.
const childEnv = "CACHIFY_REDISTEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "1" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

func child() {
	path, err := findServer()
	if err != nil {
		panic(err)
	}
	port, err := freePort()
	if err != nil {
		panic(err)
	}
	p, err := spawn(path, os.TempDir(), os.Stderr, "--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.cmd.Process.Pid)
	<-p.done
}

// self runs this test binary again, as a child or for the one test called run.
func self(t *testing.T, run string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.v", "-test.run=^"+run+"$")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, RequireEnv+"=")
	}), env...)
	return cmd
}

func TestMissingServer(t *testing.T) {
	tests := map[string]struct {
		env        []string
		pass       bool
		want       []string
		wantAbsent string
	}{
		"left out": {
			env:  []string{"PATH="},
			pass: true,
			want: []string{"--- SKIP: TestServer", "--- SKIP: TestCluster", "redis-server not found: ", "apt-get install redis-server"},
		},
		"required": {
			env:        []string{"PATH=", RequireEnv + "=1"},
			want:       []string{"--- FAIL: TestServer", "redis-server not found: ", RequireEnv + "=1", "apt-get install redis-server"},
			wantAbsent: "SKIP",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out, err := self(t, "Test(Server|Cluster)", tt.env...).CombinedOutput()
			if pass := err == nil; pass != tt.pass {
				t.Errorf("passed: %v (%v)", pass, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("no %q", want)
				}
			}
			if tt.wantAbsent != "" && strings.Contains(string(out), tt.wantAbsent) {
				t.Errorf("unwanted %q", tt.wantAbsent)
			}
			if t.Failed() {
				t.Logf("output:\n%s", out)
			}
		})
	}
}

func TestCheckVersion(t *testing.T) {
	tests := map[string]bool{
		"Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0": true,
		"Redis server v=8.4.0 sha=00000000:1 malloc=jemalloc-5.3.0 bits=64 build=1":                true,
		"Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1":               true,
		"Redis server v=6.2.6 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1":                false,
		"Redis server v=10.0.0 sha=0": true,
		"who am I":                    false,
		"":                            false,
	}
	for out, ok := range tests {
		if err := checkVersion(out); (err == nil) != ok {
			t.Errorf("%q: %v", out, err)
		}
	}
}

// A goroutine that ends while locked to its thread takes the thread with it, and the kernel what that started.
// The main thread never ends, so there are two of them.
func TestServerOutlivesThread(t *testing.T) {
	servers := []*Server{newServer(t), newServer(t)}
	var locked, ended sync.WaitGroup
	locked.Add(len(servers))
	for _, s := range servers {
		ended.Go(func() {
			runtime.LockOSThread()
			locked.Done()
			locked.Wait() // two threads, not one after the other on the same
			if err := s.start(nil); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	for _, s := range servers {
		select {
		case <-s.proc.done:
			t.Error("the server died with the thread that asked for it")
		case <-time.After(short):
		}
	}
}

func TestAwait(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls, failed := 0, errors.New("not yet")
	err := await(ctx, func() error {
		calls++
		if calls == 3 {
			cancel()
		}
		return failed
	})
	if !errors.Is(err, failed) || !errors.Is(err, context.Canceled) || calls < 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := await(ctx, func() error { return nil }); err != nil {
		t.Errorf("a check that holds: %v", err)
	}
}
