package cachify

import (
	"context"
	"time"
)

// refresh runs the function whatever the store holds. Over a value it stores by compare-and-set, while Get goes on
// serving that value; else it takes the lease, from an older load
// if need be, which then has nothing left to replace.
func (c *Cached[K, V]) refresh(ctx context.Context, a *address[K], out *Outcome) (v V, err error) {
	start := time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if c.client.breaker.open.Load() || c.client.isClosed() || loading(ctx, c.client, a.key) {
			return c.bypass(ctx, a, out, start)
		}
		now := time.Now()
		lease := c.newLease(now)
		var old V
		f, err := c.look(ctx, now, a, lease, &old)
		if err != nil {
			return c.failOpen(ctx, a, out, start, err)
		}
		switch f.what {
		case isVacant:
			return c.lead(ctx, c.leasedLoad(ctx, lease, f.stamps[0], a), out)
		case isValue:
			l := c.newLoad(ctx, a)
			l.newID, l.head, l.stamp, l.refreshes = newID(), f.head, f.stamps[0], true
			return c.lead(ctx, l, out)
		}
		if err := c.remove(ctx, a.key, f.head); err != nil {
			return c.failOpen(ctx, a, out, start, err)
		}
	}
}
