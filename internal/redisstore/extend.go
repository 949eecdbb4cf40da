package redisstore

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify/internal/claim"
)

// extendAtOnce is how many claims one pipeline extends. More at once would hold up others on the server.
const extendAtOnce = 256

// Extend implements the root package's Store. The claims go in pipelines of a few hundred, one after the other. On a
// Cluster each node has its own, beside those of the others, so that one that is down does not hold up the rest.
func (s *Store) Extend(ctx context.Context, claims []claim.Claim) (done []bool, errs []error) {
	e := &extension{s, claims, make([]bool, len(claims)), make([]error, len(claims))}
	nodes := s.byNode(ctx, claims)
	var others sync.WaitGroup
	for _, node := range nodes[1:] {
		others.Go(func() { e.run(ctx, node) })
	}
	e.run(ctx, nodes[0])
	others.Wait()
	if !slices.ContainsFunc(e.errs, func(err error) bool { return err != nil }) {
		e.errs = nil
	}
	return e.done, e.errs
}

// byNode gives the indexes of claims by the node that has them, at least one list. Where that can't be told they stay together.
func (s *Store) byNode(ctx context.Context, claims []claim.Claim) [][]int {
	all := make([]int, len(claims))
	for i := range all {
		all[i] = i
	}
	cluster, ok := s.client.(*redis.ClusterClient)
	if !ok || s.err != nil {
		return [][]int{all}
	}
	keys := make([]string, len(claims)) // the caller's slices are not for a call that may be abandoned
	for i, c := range claims {
		if len(c.Keys) > 0 {
			keys[i] = c.Keys[0]
		}
	}
	nodes := map[*redis.Client][]int{}
	sort := func(ctx context.Context, _ []redis.Cmder) error {
		for i, key := range keys {
			node, err := cluster.MasterForKey(ctx, key) // the first of all may have to ask a node where the others are
			if err != nil {
				return err
			}
			nodes[node] = append(nodes[node], i)
		}
		return nil
	}
	var err error
	if s.guard != nil {
		err = s.guard.run(ctx, nil, sort)
	} else {
		err = sort(ctx, nil)
	}
	if err != nil || len(nodes) == 0 {
		return [][]int{all}
	}
	return slices.Collect(maps.Values(nodes))
}

// An extension is one call of Extend. Those who run parts of it at the same time write to different places.
type extension struct {
	store  *Store
	claims []claim.Claim
	done   []bool
	errs   []error
}

// run extends the claims with these indexes.
func (e *extension) run(ctx context.Context, indexes []int) {
	for some := range slices.Chunk(indexes, extendAtOnce) {
		e.runSome(ctx, some)
	}
}

func (e *extension) runSome(ctx context.Context, indexes []int) {
	calls := make([]redis.Cmder, 0, len(indexes))
	sent := make([]int, 0, len(indexes))
	for _, i := range indexes {
		c := &e.claims[i]
		ms, err := checkClaim(c)
		if err != nil {
			e.errs[i] = err
			continue
		}
		calls = append(calls, redis.NewCmd(ctx, extending(c, ms)...))
		sent = append(sent, i)
	}
	if len(calls) == 0 {
		return
	}
	err := e.store.runScripts(ctx, calls...)
	for n, i := range sent {
		if keys := e.claims[i].Keys; err != nil {
			e.errs[i] = failedClaim(ctx, "extend", keys, err)
		} else {
			e.done[i], e.errs[i] = answer(ctx, "extend", keys, calls[n].(*redis.Cmd))
		}
	}
}

// extending gives the arguments of the script that extends c.
func extending(c *claim.Claim, ms int64) []any {
	switch {
	case c.Slots > 0:
		return scriptArgs(enterScript, c.Keys, c.Token, ms, 0, "")
	case ms < 0:
		return scriptArgs(lockForeverScript, c.Keys, c.Token, "")
	}
	return scriptArgs(extendScript, c.Keys, c.Token, ms)
}
