package httpcache

import (
	"context"
	"strings"
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redistest"
)

// Whatever template a cached function has, its entries are not where answers are: they are not seen, and not reset, from the other side.
func TestKeysOfAnswersAndFunctionsNeverMeet(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client(t)
	client := cachify.New(cachify.Redis(rdb), &cachify.Options{Prefix: "app:", Logger: discard, OpTimeout: patience})
	defer client.Close()
	s := siteOf(t, client, &Options{TTL: OneMinute})
	s.ask("/", "Host: a.test").miss()
	answer := key{Path: "/", Rest: "http://a.test"}
	for _, template := range []string{"get:<path>#<rest>", "http:get:<path>#<rest>"} {
		runs := 0
		f, err := cachify.NewCached(client, template, func(context.Context, key) (string, error) {
			runs++
			return "function", nil
		}, nil)
		noError(t, err)
		for range 2 {
			if v, err := f.Get(t.Context(), answer); v != "function" || err != nil || runs != 1 {
				t.Errorf("%s: %q %v, %d runs", template, v, err, runs)
			}
			s.ask("/", "Host: a.test").hit()
		}
		noError(t, f.Reset(t.Context(), answer))
		noError(t, f.ResetAll(t.Context()))
		s.ask("/", "Host: a.test").hit()
		_, err = f.Get(t.Context(), answer)
		noError(t, err)
		noError(t, s.cache.PurgeAll(t.Context()))
		s.ask("/", "Host: a.test").miss()
		if _, ok, err := f.Peek(t.Context(), answer); !ok || err != nil {
			t.Errorf("%s: purging the answers has removed a value (%v)", template, err)
		}
	}
	keys, err := rdb.Keys(t.Context(), "*").Result()
	noError(t, err)
	kinds := map[string]int{}
	for _, k := range keys {
		kind, _, _ := strings.Cut(strings.TrimPrefix(k, "app:"), ":")
		kinds[kind]++
	}
	if kinds["http"] != 1 || kinds["cached"] != 2 || rdb.Exists(t.Context(), "app:http:get:/#http://a.test").Val() != 1 {
		t.Errorf("%v: %q", kinds, keys)
	}
}

// A client's near cache is for its functions. A purge must be seen in all processes when it is done.
func TestAnswersAreNotKeptNear(t *testing.T) {
	store := cachify.Memory()
	var sites []*site
	for range 2 {
		client := cachify.New(store, &cachify.Options{Prefix: "app:", Logger: discard, Near: &cachify.NearOptions{}})
		defer client.Close()
		sites = append(sites, siteOf(t, client, &Options{TTL: OneMinute}))
	}
	for range 20 {
		for _, s := range sites {
			s.ask("/", "Host: a.test")
			s.ask("/", "Host: a.test").hit()
		}
		noError(t, sites[0].cache.Purge(t.Context(), "/"))
		sites[1].ask("/", "Host: a.test").miss()
	}
}
