package cachify

import "github.com/go-cachify/cachify/internal/memstore"

// memoryLimit is how many bytes a store of Memory holds.
const memoryLimit = 256 << 20

// Memory returns a store inside this process: the embedded default for programs that run as one process, and for tests.
// It keeps the same promises as [Redis]. It holds up to 256 MiB and then evicts values that are seldom read, never locks
// or leases. Each call makes a new store; clients over one store share its data.
func Memory() Store { return memstore.New(memoryLimit) }

// MemoryOf is [Memory] with another limit, in bytes. A limit below 1 MiB counts as 1 MiB.
func MemoryOf(limit int64) Store { return memstore.New(max(limit, 1<<20)) }

func isMemory(s Store) bool {
	_, ok := s.(*memstore.Store)
	return ok
}
