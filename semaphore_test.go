package cachify_test

import (
	"github.com/go-cachify/cachify"
)

func newSemaphore(c *cachify.Client, size int, opts *cachify.LockOptions) *cachify.Semaphore[int] {
	return cachify.Must(cachify.NewSemaphore[int](c, "pool-<n>", size, opts))
}
