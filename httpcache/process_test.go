package httpcache

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// The environment of a child: that it is one, and the server's address.
const (
	childEnv = "CACHIFY_HTTPCACHE_CHILD"
	addrEnv  = "CACHIFY_HTTPCACHE_ADDR"
)

// child is what the test binary runs as in a second process: a server over the same Redis. It says where it listens, and ends
// with its input.
func child(addr string) {
	client := cachify.New(cachify.Redis(redis.NewClient(&redis.Options{Addr: addr})), &cachify.Options{Prefix: "p:", OpTimeout: patience, Logger: discard})
	srv := httptest.NewServer(processHandler(New(client, &Options{TTL: OneMinute, Logger: discard})))
	fmt.Println(srv.URL)
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// processHandler says who made an answer, and at /runs how often its handler ran. With "hold" in the query the handler waits for a POST to
// /release; with "cookie" its answer is for one client only, which it says before it waits.
func processHandler(cache *Cache) http.Handler {
	var mu sync.Mutex
	runs := map[string]int{}
	release := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/", cache.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		runs[r.URL.Path]++
		mu.Unlock()
		if r.URL.Query().Has("cookie") {
			w.Header().Set("Set-Cookie", "a=b")
			w.WriteHeader(http.StatusOK)
		}
		if r.URL.Query().Has("hold") {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
		fmt.Fprintf(w, "%s by %d", r.URL.Path, os.Getpid())
	})))
	mux.HandleFunc("/runs/", func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprint(w, runs[strings.TrimPrefix(r.URL.Path, "/runs")])
	})
	mux.HandleFunc("POST /release", func(http.ResponseWriter, *http.Request) { close(release) })
	return mux
}

// startChild gives the URL of a server in another process.
func startChild(t *testing.T, addr string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"=1", addrEnv+"="+addr)
	in, err := cmd.StdinPipe()
	noError(t, err)
	out, err := cmd.StdoutPipe()
	noError(t, err)
	noError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait() // how it ended is no news
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	noError(t, err)
	return strings.TrimSpace(line)
}

// fetch asks as one host, whatever the server: the processes of a service have one name.
func fetch(t *testing.T, method, url string) (body string, header http.Header) {
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	noError(t, err)
	req.Host = "service.test"
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return "", nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(b), res.Header
}

func runsOf(t *testing.T, base, path string) int {
	body, _ := fetch(t, "GET", base+"/runs"+path)
	n, err := strconv.Atoi(body)
	noError(t, err)
	return n
}

func TestTwoProcesses(t *testing.T) {
	server := redistest.Start(t)
	bases := []string{startChild(t, server.Addr()), startChild(t, server.Addr())}

	t.Run("one makes it, both have it", func(t *testing.T) {
		first, _ := fetch(t, "GET", bases[0]+"/shared")
		second, header := fetch(t, "GET", bases[1]+"/shared")
		if first != second || header.Get("X-Cache") != "Hit" || header.Get("Etag") == "" {
			t.Errorf("%q, then %q, %v", first, second, header)
		}
	})
	t.Run("of a stampede one handler runs", func(t *testing.T) {
		bodies := stampede(t, bases, "/slow", 40, func() {})
		if len(bodies) != 1 {
			t.Errorf("answers: %v", bodies)
		}
		if n := runsOf(t, bases[0], "/slow") + runsOf(t, bases[1], "/slow"); n != 1 {
			t.Errorf("%d runs", n)
		}
	})
	t.Run("what is not to be shared is not waited for", func(t *testing.T) {
		runs := func() int { return runsOf(t, bases[0], "/cookie") + runsOf(t, bases[1], "/cookie") }
		stampede(t, bases, "/cookie?cookie&hold", 40, func() {
			for runs() < 40 { // all handlers are at work at one time, or this does not end
				runtime.Gosched()
			}
			for _, base := range bases {
				fetch(t, "POST", base+"/release")
			}
		})
		if n := runs(); n != 40 {
			t.Errorf("%d runs", n)
		}
	})
	t.Run("a write in one is seen in the other", func(t *testing.T) {
		fetch(t, "GET", bases[0]+"/written")
		if _, header := fetch(t, "GET", bases[1]+"/written"); header.Get("X-Cache") != "Hit" {
			t.Fatal(header)
		}
		fetch(t, "PUT", bases[0]+"/written")
		if _, header := fetch(t, "GET", bases[1]+"/written"); header.Get("X-Cache") != "Miss" {
			t.Error(header)
		}
	})
}

// stampede asks all servers at once, does what is to be done meanwhile, and gives the answers that came.
func stampede(t *testing.T, bases []string, path string, n int, meanwhile func()) map[string]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	bodies := map[string]int{}
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			body, _ := fetch(t, "GET", bases[i%len(bases)]+path)
			mu.Lock()
			defer mu.Unlock()
			bodies[body]++
		})
	}
	close(start)
	meanwhile()
	wg.Wait()
	return bodies
}
