//go:build unix

package history_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/history"
	"github.com/go-cachify/cachify/internal/redistest"
)

// The long run is made by scripts/history.sh, which sets these.
var (
	operations = fromEnv("CACHIFY_HISTORY_OPERATIONS", 40_000)
	processes  = fromEnv("CACHIFY_HISTORY_PROCESSES", 3)
)

const clients = 3 // in each process

func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// TestMain lets the test binary run as one of the processes of TestRedisProcesses.
func TestMain(m *testing.M) {
	if addr := os.Getenv("CACHIFY_HISTORY_CHILD"); addr != "" {
		child(addr)
		return
	}
	os.Exit(m.Run())
}

func TestMemory(t *testing.T) {
	store := cachify.Memory()
	report := run(t, func() cachify.Store { return store })
	accept(t, report)
}

func TestMiniredis(t *testing.T) {
	rdb, _ := redistest.Mini(t)
	accept(t, run(t, func() cachify.Store { return cachify.Redis(rdb) }))
}

// TestCanFail takes the lease check out: a store whose Set compares nothing must be found out.
func TestCanFail(t *testing.T) {
	store := forgetful{cachify.Memory()}
	report := run(t, func() cachify.Store { return store })
	if report.Violated == 0 {
		t.Fatalf("no violation seen in %d operations without the lease check: the test can't fail", report.Operations)
	}
	t.Logf("%d violations in %d operations, as there must be", report.Violated, report.Operations)
}

// TestCanFailTags takes the check of the tags' stamps out.
func TestCanFailTags(t *testing.T) {
	store := stampless{cachify.Memory()}
	report := run(t, func() cachify.Store { return store })
	if report.Violated == 0 {
		t.Fatalf("no violation seen in %d operations without the stamps: the test can't fail", report.Operations)
	}
	t.Logf("%d violations in %d operations, as there must be", report.Violated, report.Operations)
}

type forgetful struct{ cachify.Store }

func (s forgetful) Set(ctx context.Context, _ []byte, keys []string, values [][]byte, ttls []time.Duration, tags []string) ([]bool, []int64, error) {
	return s.Store.Set(ctx, nil, keys, values, ttls, tags)
}

type stampless struct{ cachify.Store }

func (s stampless) Lease(ctx context.Context, lease []byte, ttl time.Duration, keys, tags []string, left []time.Duration) ([][]byte, []int64, error) {
	values, stamps, err := s.Store.Lease(ctx, lease, ttl, keys, tags, left)
	for i := range stamps {
		stamps[i] = 1
	}
	return values, stamps, err
}

func run(t *testing.T, store func() cachify.Store) history.Report {
	t.Helper()
	r := history.Run{
		Source:     history.NewSource(make([]byte, 4096)),
		Goroutines: 16, Operations: int64(operations), MaxLoad: 3 * time.Millisecond,
	}
	for range clients {
		// On a busy machine an operation may take longer than the default, and a Reset then rightly fails.
		c := cachify.New(store(), &cachify.Options{Prefix: "history:", OpTimeout: 10 * time.Second})
		r.Clients = append(r.Clients, c)
		defer c.Close()
	}
	return r.Do(t.Context())
}

func accept(t *testing.T, report history.Report) {
	t.Helper()
	t.Logf("%d operations (%d loads, %d resets, %d cancelled), %d violations",
		report.Operations, report.Loads, report.Resets, report.Cancelled, report.Violated)
	if report.Violated > 0 {
		t.Errorf("violations, among them: %q", report.Violations)
	}
	if len(report.Failed) > 0 {
		t.Errorf("failed operations, among them: %q", report.Failed)
	}
	if report.Operations == 0 || report.Resets == 0 || report.Loads == 0 {
		t.Error("the run did nothing")
	}
}

// TestRedisProcesses runs several processes over one real server and one source, in memory that they share.
func TestRedisProcesses(t *testing.T) {
	server := redistest.Start(t)
	file := t.TempDir() + "/source"
	if err := os.WriteFile(file, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	var wg sync.WaitGroup
	reports := make([]history.Report, processes)
	for i := range processes {
		wg.Go(func() {
			cmd := exec.CommandContext(t.Context(), os.Args[0])
			cmd.Env = append(os.Environ(), "CACHIFY_HISTORY_CHILD="+server.Addr(), "CACHIFY_HISTORY_SOURCE="+file,
				fmt.Sprintf("CACHIFY_HISTORY_OPERATIONS=%d", operations/processes))
			cmd.Stderr = os.Stderr
			out, err := cmd.Output()
			if err == nil {
				err = json.Unmarshal(out, &reports[i])
			}
			if err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}
		})
	}
	wg.Wait()
	var all history.Report
	for _, r := range reports {
		all.Operations += r.Operations
		all.Loads += r.Loads
		all.Resets += r.Resets
		all.Cancelled += r.Cancelled
		all.Violated += r.Violated
		all.Failed = append(all.Failed, r.Failed...)
		all.Violations = append(all.Violations, r.Violations...)
	}
	t.Logf("%d processes of %d clients of 16 goroutines, %v", processes, clients, time.Since(began).Round(time.Millisecond))
	accept(t, all)
}

func child(addr string) {
	memory, err := share(os.Getenv("CACHIFY_HISTORY_SOURCE"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r := history.Run{Source: history.NewSource(memory), Goroutines: 16, Operations: int64(operations), MaxLoad: 3 * time.Millisecond}
	for range clients {
		rdb := redis.NewClient(&redis.Options{Addr: addr})
		defer rdb.Close()
		// On a busy machine an operation may take longer than the default, and a Reset then rightly fails.
		c := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "history:", OpTimeout: 10 * time.Second})
		defer c.Close()
		r.Clients = append(r.Clients, c)
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	_ = json.NewEncoder(out).Encode(r.Do(context.Background()))
}

func share(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return syscall.Mmap(int(f.Fd()), 0, 4096, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
}
