package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/go-cachify/cachify"
)

// calls are all methods that take a ctx.
var calls = []struct {
	name string
	call func(ctx context.Context, h *harness) error
}{
	{"Get", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Get(ctx, h.keys("k"), h.tags("t"), nil)
		return err
	}},
	{"Lease", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Lease(ctx, []byte("lease"), long, h.keys("k"), h.tags("t"), nil)
		return err
	}},
	{"Set", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Set(ctx, nil, h.keys("k"), [][]byte{[]byte("value")}, []time.Duration{long}, h.tags("t"))
		return err
	}},
	{"Expire", func(ctx context.Context, h *harness) error {
		_, err := h.store.Expire(ctx, nil, long, h.keys("k"))
		return err
	}},
	{"Delete", func(ctx context.Context, h *harness) error {
		_, err := h.store.Delete(ctx, nil, h.keys("k"))
		return err
	}},
	{"Advance", func(ctx context.Context, h *harness) error {
		_, err := h.store.Advance(ctx, long, h.tags("t"))
		return err
	}},
	{"Lock", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Lock(ctx, lockOf("token", long, h.key("k")), "")
		return err
	}},
	{"LockOfSeveral", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Lock(ctx, h.fenced("token", long, "k", "l"), "")
		return err
	}},
	{"LockFrom", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Lock(ctx, lockOf("token", long, h.key("k")), "another")
		return err
	}},
	{"LockOfASlot", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Lock(ctx, slotOf(1, "token", long, h.key("s")), "")
		return err
	}},
	{"Extend", func(ctx context.Context, h *harness) error {
		_, errs := h.store.Extend(ctx, []cachify.Claim{lockOf("token", long, h.key("k"))})
		return errors.Join(errs...)
	}},
	{"Unlock", func(ctx context.Context, h *harness) error {
		_, err := h.store.Unlock(ctx, lockOf("token", long, h.key("k")))
		return err
	}},
	{"UnlockOfASlot", func(ctx context.Context, h *harness) error {
		_, err := h.store.Unlock(ctx, slotOf(1, "token", long, h.key("s")))
		return err
	}},
	{"Fence", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Fence(ctx, h.fenced("token", long, "k"))
		return err
	}},
	{"Holders", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Holders(ctx, h.key("k"), false)
		return err
	}},
	{"HoldersOfASemaphore", func(ctx context.Context, h *harness) error {
		_, _, err := h.store.Holders(ctx, h.key("s"), true)
		return err
	}},
}

var lifecycle = []test{
	{"CtxCancelled", func(h *harness) {
		ctx, cancel := context.WithCancel(h.Context())
		cancel()
		h.refusesAll(ctx, context.Canceled)
	}},
	{"CtxOverdue", func(h *harness) {
		ctx, cancel := context.WithDeadline(h.Context(), time.Now().Add(-time.Second))
		defer cancel()
		h.refusesAll(ctx, context.DeadlineExceeded)
	}},
	{"CloseOfOneClient", func(h *harness) {
		store := h.open()
		store.Open()
		h.noError("Close", store.Close())
		h.works(store)
	}},
	{"OpenAgain", func(h *harness) {
		store := h.backend.Open()
		for range 3 {
			store.Open()
			h.works(store)
			h.noError("Close", store.Close())
		}
	}},
	{"CloseUnused", func(h *harness) {
		store := h.backend.Open()
		store.Open()
		h.noError("Close", store.Close())
	}},
}

func (h *harness) refusesAll(ctx context.Context, want error) {
	h.Helper()
	for _, c := range calls {
		began := time.Now()
		if err := c.call(ctx, h); !errors.Is(err, want) {
			h.Errorf("%s with a ctx that has ended gave %v, want %v", c.name, err, want)
		}
		if took := time.Since(began); took > time.Second {
			h.Errorf("%s with a ctx that has ended took %v", c.name, took)
		}
	}
}

// works checks that store reads, writes and notifies.
func (h *harness) works(store cachify.Store) {
	h.Helper()
	key := h.key("works")
	h.set(key, "value", long)
	values, _, err := store.Get(h.Context(), []string{key}, nil, nil)
	h.noError("Get", err)
	if string(values[0]) != "value" {
		h.Fatalf("the store reads %q, want %q", values[0], "value")
	}
	ch, stop := h.watching(store, key)
	defer stop()
	done, err := store.Delete(h.Context(), nil, []string{key})
	h.noError("Delete", err)
	h.is("Delete", done[0], true)
	h.receives("Delete", ch)
}
