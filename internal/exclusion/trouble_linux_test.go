package exclusion_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-cachify/cachify/internal/redistest"
)

// An act is something that is done to holders or server.
type act struct {
	name  string
	often int
	do    func()
}

// trouble does one of acts after the other, with pauses of up to the given time, until enough is true. It says what it has done.
func (f *fleet) trouble(enough func() bool, pause time.Duration, acts ...act) string {
	f.t.Helper()
	done := make([]int, len(acts))
	for limit := time.Now().Add(10 * time.Minute); !enough(); {
		if time.Now().After(limit) {
			f.t.Fatalf("only %d holdings", f.holdings())
		}
		f.mustRun()
		time.Sleep(rand.N(pause))
		i := pick(acts)
		acts[i].do()
		done[i]++
	}
	said := make([]string, len(acts))
	for i, act := range acts {
		said[i] = fmt.Sprintf("%d %s", done[i], act.name)
	}
	return strings.Join(said, ", ")
}

func pick(acts []act) int {
	total := 0
	for _, act := range acts {
		total += act.often
	}
	n := rand.N(total)
	for i, act := range acts {
		if n -= act.often; n < 0 {
			return i
		}
	}
	return 0
}

// violence is what holders, server and network may do to one another. Half of the holders are behind proxy.
func (f *fleet) violence(server *redistest.Server, proxy *redistest.Proxy) []act {
	rdb := server.Client(f.t)
	cut := func(kind string) func() {
		return func() { noError(f.t, rdb.ClientKillByFilter(f.t.Context(), "TYPE", kind).Err()) }
	}
	return []act{
		{"processes killed", 5, f.kill},
		{"stops of the server", 1, func() {
			server.Stop()
			time.Sleep(rand.N(time.Second))
			server.Cont()
		}},
		{"times half of the processes separated from it", 3, func() {
			proxy.Stall(true)
			time.Sleep(ttl/2 + rand.N(ttl*5/2))
			if rand.N(2) == 0 {
				proxy.Cut() // what is on its way never arrives; else it arrives late
			}
			proxy.Stall(false)
		}},
		{"times all connections cut", 1, cut("normal")},
		{"subscriptions cut", 1, cut("pubsub")},
	}
}

// leftOver waits until whatever was left by the dead must have expired, and looks whether anything is left.
func leftOver(t *testing.T, server *redistest.Server) {
	t.Helper()
	time.Sleep(2 * ttl) // what is to be shown is that nothing is left after that time
	rdb := server.Client(t)
	keys, err := rdb.Keys(t.Context(), "*").Result()
	noError(t, err)
	for _, key := range keys {
		left, err := rdb.PTTL(t.Context(), key).Result()
		noError(t, err)
		if !strings.HasPrefix(key, prefix+"fence:") || left <= 0 {
			t.Errorf("%s is left over, for %v", key, left)
		}
	}
}
