// Package redistest starts what tests of cachify need beside them: real redis-server processes on free
// loopback ports (one node, a Cluster, a master under Sentinel), a TCP proxy that misbehaves on demand,
// and miniredis for tests that can do without a server. All of it ends with the test that started it, and at
// the latest with the test binary.
package redistest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// RequireEnv names the environment variable that, set to 1, makes a missing redis-server a failure. The gate
// sets it, so that it can't pass with the real-server tests left out.
const RequireEnv = "CACHIFY_REQUIRE_REDIS"

const (
	mend     = "install redis-server 7.0 or later (Debian: apt-get install redis-server; macOS: brew install redis)"
	minMajor = 7 // SET with both NX and GET
	patience = 20 * time.Second
)

// Need gives the path of redis-server. Without one (or with one that is too old) it skips the test, or fails
// it if [RequireEnv] is 1. It is the only place that skips.
func Need(t testing.TB) (path string) {
	t.Helper()
	path, err := findServer()
	switch {
	case err == nil:
		return path
	case os.Getenv(RequireEnv) == "1":
		t.Fatalf("%v, and %s=1 forbids leaving tests out: %s", err, RequireEnv, mend)
	default:
		t.Skipf("%v: %s", err, mend)
	}
	return ""
}

// Availability says in one line whether tests on a real server run here.
func Availability() string {
	path, err := findServer()
	if err != nil {
		return fmt.Sprintf("%v: tests on a real server are left out; %s", err, mend)
	}
	return "tests on a real server use " + path
}

var findServer = sync.OnceValues(func() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("redis-server not found: %w", err)
	}
	out, err := exec.Command(path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("redis-server not found: %s --version: %w", path, err)
	}
	return path, checkVersion(string(out))
})

var versionPattern = regexp.MustCompile(`\bv=(\d+)\.`)

// checkVersion reads what redis-server --version prints: "Redis server v=7.0.15 sha=…".
func checkVersion(out string) error {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return fmt.Errorf("redis-server not found: can't read the version in %q", out)
	}
	if major, _ := strconv.Atoi(m[1]); major < minMajor {
		return fmt.Errorf("redis-server not found: version %s is too old", m[1])
	}
	return nil
}

// NewClient gives a client with go-redis' defaults for addr, closed at the end of the test.
func NewClient(t testing.TB, addr string, opts ...func(*redis.Options)) *redis.Client {
	o := &redis.Options{Addr: addr}
	for _, opt := range opts {
		opt(o)
	}
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() }) // the test may have closed it
	return rdb
}

// freePort gives a loopback port with its Cluster bus port (10,000 above) free as well. Both lie below the
// ports that the system gives to outgoing connections, so that none of those can sit on the port of a server
// that is down for a while. Somebody else may take the port before the caller does: try again then.
func freePort() (int, error) {
	var err error
	for range 100 {
		port := 10_000 + rand.IntN(10_000)
		if err = tryListen(port); err == nil {
			err = tryListen(port + 10_000)
		}
		if err == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port: %w", err)
}

func tryListen(port int) error {
	l, err := net.Listen("tcp", loopback(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// await calls check until it returns nil, and gives its last error if ctx ends first.
func await(ctx context.Context, check func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
	}
}
