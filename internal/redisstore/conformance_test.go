package redisstore_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/redisstore"
	"github.com/go-cachify/cachify/internal/redistest"
	"github.com/go-cachify/cachify/storetest"
)

func TestConformanceOnMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		rdb, _ := redistest.Mini(t)
		return on(rdb)
	})
}

func TestConformanceOnServer(t *testing.T) {
	rdb := redistest.Start(t).Client(t)
	storetest.Run(t, func(*testing.T) storetest.Backend { return on(rdb) })
}

func TestConformanceOnCluster(t *testing.T) {
	cluster := redistest.StartCluster(t)
	for _, enabled := range []bool{false, true} {
		t.Run(fmt.Sprintf("ContextTimeoutEnabled %t", enabled), func(t *testing.T) {
			rdb := cluster.Client(t, func(o *redis.ClusterOptions) { o.ContextTimeoutEnabled = enabled })
			storetest.Run(t, func(*testing.T) storetest.Backend { return on(rdb) })
		})
	}
}

// TestConformanceInACrowd has each read travel as one of many.
func TestConformanceInACrowd(t *testing.T) {
	single, cluster := redistest.Start(t).Client(t), redistest.StartCluster(t).Client(t)
	for name, rdb := range map[string]redis.UniversalClient{"server": single, "cluster": cluster} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(*testing.T) storetest.Backend {
				return storetest.Backend{Open: func() cachify.Store { return redisstore.Crowded(rdb) }}
			})
		})
	}
}

func on(rdb redis.UniversalClient) storetest.Backend {
	return storetest.Backend{Open: func() cachify.Store { return redisstore.New(rdb) }}
}
