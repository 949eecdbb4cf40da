//go:build unix

package peers

import (
	"context"
	"strconv"
	"testing"
	"time"
)

// A level says where hits come from.
type level int

const (
	inRedis     level = iota // each hit asks Redis
	nearShared               // hits come out of this process, and callers share the decoded value
	nearDecoded              // hits come out of this process, and are decoded for each caller
)

type loader[V any] func(ctx context.Context, a args) (V, error)

// A cache is one library at work. What the library does not have is nil.
type cache[V any] struct {
	get     func(ctx context.Context, a args) (V, error)
	getMany func(ctx context.Context, as []args) ([]V, error)
	reset   func(ctx context.Context, a args) error
	settle  func() // returns when what get does in the background is done
}

// A peer is one library.
type peer[V any] struct {
	name, module, how string

	usual  level // for the works that do not ask for one
	memory bool  // it keeps entries in this process alone
	hits   bool  // it is there for its hits alone

	// open starts it on the server at addr. It returns nil if the library can't work at that level.
	open func(t testing.TB, addr string, lv level, load loader[V]) *cache[V]
}

// peers are all of them, in the order in which they take turns.
func peers[V any]() []peer[V] {
	return []peer[V]{goRedis[V](), autoPipeline[V](), rawRueidis[V](), rawOtter[V](), redisCache[V](), sturdy[V](), ours[V]()}
}

const (
	ttl  = time.Hour
	size = 10_000 // of near caches
)

type args struct {
	Tenant string
	UserID int64
}

// key is what one would write by hand.
func (a args) key(prefix string) string {
	b := make([]byte, 0, 64)
	b = append(b, prefix...)
	b = append(b, "user-"...)
	b = append(b, a.Tenant...)
	b = append(b, '-')
	b = strconv.AppendInt(b, a.UserID, 10)
	return string(b)
}

func user(id int64) args { return args{"acme", 1_000_000 + id} }

// A small takes 200 bytes in MessagePack.
type small struct {
	ID        int64
	Tenant    string
	Name      string
	Email     string
	Roles     []string
	Active    bool
	Balance   float64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// A big takes 10 KB in MessagePack.
type big struct {
	ID      int64
	Name    string
	Members []small
}

func newSmall(id int64) small {
	return small{
		ID: id, Tenant: "acme", Name: "Ann Example of Exampleton", Email: "ann.example@mail.example.com",
		Roles: []string{"reader", "writer", "administrator", "auditor"}, Active: true, Balance: 1234.56,
		CreatedAt: time.Unix(1_700_000_000, 123_456_789).UTC(), UpdatedAt: time.Unix(1_760_000_000, 987_654_321).UTC(),
	}
}

func newBig(id int64) big {
	b := big{ID: id, Name: "Editors"}
	for i := range int64(50) {
		b.Members = append(b.Members, newSmall(i))
	}
	return b
}
