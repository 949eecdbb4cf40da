package httpcache

import (
	"context"
	"fmt"
	"log/slog"
)

// Purge removes all that is stored of URLs: every variant, for every host and every text of Options.Key. A URL may be absolute or
// begin with its path; it has the query, in which the order of the names and the way of escaping do not matter, and ignored
// parameters are left out as c's options say. It takes one round trip.
//
// After Purge has returned, no request that starts later, at any process, gets an answer that was made before Purge began, also if it
// was being made meanwhile. Browsers, and other caches, keep what they have: see Options.ClientTTL. An error is that of a URL
// that is none, or means that the store could not be reached; the purge is then tried again in the background
// until it is done or the client is closed.
func (c *Cache) Purge(ctx context.Context, urls ...string) error {
	if err := c.usable(); err != nil {
		return err
	}
	tags := make([]string, 0, len(urls))
	for _, u := range urls {
		path, err := c.opts.purgePath(u)
		if err != nil {
			return fmt.Errorf("cachify: httpcache: Purge: %w", err)
		}
		tags = addOnce(tags, pathTag+path)
	}
	return c.purged(ctx, "urls", urls, c.core.client.ResetTags(ctx, tags...))
}

// PurgeTags removes all answers that carry any of tags, by [AddTags] or Surrogate-Key. The tags are those of the client: values of
// cached functions that carry them go as well. What Purge says of its promise and its errors holds.
func (c *Cache) PurgeTags(ctx context.Context, tags ...string) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.purged(ctx, "tags", tags, c.core.client.ResetTags(ctx, tags...))
}

// PurgeAll removes all that caches of the client have stored, in one round trip however much it is. What Purge says of its promise
// and its errors holds.
func (c *Cache) PurgeAll(ctx context.Context) error {
	if err := c.usable(); err != nil {
		return err
	}
	return c.purged(ctx, "all", true, c.core.entries.ResetAll(ctx))
}

func (c *Cache) purged(ctx context.Context, what string, which any, err error) error {
	if err != nil {
		return fmt.Errorf("cachify: httpcache: %w", err)
	}
	c.log(ctx, "cachify: http answers purged", "", what, which)
	return nil
}

func (c *Cache) log(ctx context.Context, msg, url string, args ...any) {
	logger := c.opts.logger()
	if !logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	if url != "" {
		args = append([]any{"url", url}, args...)
	}
	logger.DebugContext(ctx, msg, args...)
}
