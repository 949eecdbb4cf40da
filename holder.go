package cachify

import (
	"context"
	"crypto/rand"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Holder describes who holds a lock, for operators.
type Holder struct {
	Host  string        // os.Hostname of the holder, empty if it has none
	PID   int           // the holder's process id, 0 if what holds the key is not a lock of cachify
	Label string        // LockOptions.Label of the holder
	Since time.Time     // when it asked for the lock, by its own clock, to the millisecond
	TTL   time.Duration // what is left of the lock's time to live, NoExpiry if it does not expire
}

// A token tells one holding from all others, and who its holder is. It is what the lock's key holds:
//
//	<26 random characters> <host> <process id> <milliseconds since 1970> <label>
func newToken(label string) string {
	b := make([]byte, 0, 128)
	b = append(b, rand.Text()...)
	b = append(b, process()...)
	b = strconv.AppendInt(b, time.Now().UnixMilli(), 10)
	b = append(b, ' ')
	return string(append(b, label...))
}

// process is the part of a token that is the same for all tokens of this process.
var process = sync.OnceValue(func() string {
	host, _ := os.Hostname() // a holder without a name is still a holder
	return " " + strings.ReplaceAll(host, " ", "_") + " " + strconv.Itoa(os.Getpid()) + " "
})

// parseHolder reads a token. Of one that it does not understand it gives the text as the label.
func parseHolder(token string, left time.Duration) Holder {
	h := Holder{Label: token, TTL: left}
	parts := strings.SplitN(token, " ", 5)
	if len(parts) < 5 {
		return h
	}
	pid, err := strconv.Atoi(parts[2])
	if err != nil {
		return h
	}
	ms, err := strconv.ParseInt(parts[3], 10, 64)
	if err != nil {
		return h
	}
	h.Host, h.PID, h.Since, h.Label = parts[1], pid, time.UnixMilli(ms), parts[4]
	return h
}

// holders asks the store who holds key.
func (c *Client) holders(ctx context.Context, key string, semaphore bool) ([]string, []time.Duration, error) {
	if c.isClosed() {
		return nil, nil, ErrClosed
	}
	op, cancel := c.opContext(ctx)
	defer cancel()
	tokens, left, err := c.store.Holders(op, key, semaphore)
	return tokens, left, c.report(ctx, err)
}
