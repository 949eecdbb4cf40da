package memstore_test

import (
	"testing"

	"github.com/go-cachify/cachify"
	"github.com/go-cachify/cachify/internal/memstore"
	"github.com/go-cachify/cachify/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Backend {
		store := memstore.New(256 << 20)
		return storetest.Backend{Open: func() cachify.Store { return store }}
	})
}
