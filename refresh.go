package cachify

import (
	"context"
	"time"
)

// refresh runs the function whatever the store holds. Over a value it stores by compare-and-set, while Get goes on
// serving that value; over nothing, or over a lease, it puts a lease of its own, so that the older load has
// nothing left to replace and callers join this one.
func (c *Cached[K, V]) refresh(ctx context.Context, a *address[K], out *Outcome) (v V, err error) {
	start := time.Now()
	for {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		if c.client.breaker.open.Load() || c.client.isClosed() || loading(ctx, c.client, a.key) {
			return c.bypass(ctx, a, out, start)
		}
		lease := c.newLease()
		data, stamps, err := c.takeLease(ctx, lease, a)
		if err != nil {
			return c.failOpen(ctx, a, out, start, err)
		}
		if data != nil {
			var old V
			e, found, err := c.read(ctx, a, data, stamps, &old)
			if err != nil {
				return c.failOpen(ctx, a, out, start, err)
			}
			if found == isValue {
				l := c.makeLoad(ctx, newID(), []*address[K]{a})
				l.head, l.stamp = e.head(), stamps[0]
				return c.lead(ctx, l, out)
			}
			if e.id != lease.id {
				took, err := c.replace(ctx, a.key, data, lease)
				if err != nil {
					return c.failOpen(ctx, a, out, start, err)
				}
				if !took {
					continue // it has changed since
				}
			}
		}
		return c.lead(ctx, c.leasedLoad(ctx, lease, stamps[0], a), out)
	}
}
