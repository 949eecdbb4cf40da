package cachify

import (
	"context"
	"fmt"
)

// isLocked says whether a lock is held, or all slots of a semaphore.
func (c *Client) isLocked(ctx context.Context, key string, slots int) (bool, error) {
	tokens, _, err := c.holders(ctx, key, slots > 0)
	if err != nil {
		return false, fmt.Errorf("cachify: IsLocked %s: %w", key, err)
	}
	return len(tokens) >= max(slots, 1), nil
}

// forceRelease removes a lock, or takes all slots of a semaphore, by the tokens that are there, so that an attempt that reaches the
// server late does not remove the next holder's.
func (c *Client) forceRelease(ctx context.Context, key string, slots int) error {
	if err := c.removeHolders(ctx, key, slots); err != nil {
		return fmt.Errorf("cachify: Release %s: %w", key, err)
	}
	return nil
}

func (c *Client) removeHolders(ctx context.Context, key string, slots int) error {
	tokens, _, err := c.holders(ctx, key, slots > 0)
	if err != nil || len(tokens) == 0 {
		return err
	}
	op, cancel := c.opContext(ctx)
	defer cancel()
	if len(tokens) == 1 && tokens[0] == "" { // not a lock of ours
		_, err := c.store.Delete(op, nil, []string{key})
		return c.report(ctx, err)
	}
	for _, token := range tokens {
		_, err := c.store.Unlock(op, Claim{Keys: []string{key}, Token: token, Slots: slots})
		if c.report(ctx, err) != nil {
			return err
		}
	}
	return c.tellHolders(ctx)
}

// tellHolders has all clients look after their leases.
func (c *Client) tellHolders(ctx context.Context) error {
	op, cancel := c.opContext(ctx)
	defer cancel()
	_, err := c.store.Delete(op, nil, []string{c.releaseKey()})
	return c.report(ctx, err)
}
