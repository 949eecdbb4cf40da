// Package keykind lets packages of this module keep entries that are not those of cached functions, at keys that never meet theirs.
package keykind

// Of has the cached function that is made with a *cachify.CachedOptions keep its entries at <prefix><name>:… in place of
// <prefix>cached:…, and without a near cache, since near caches follow the changes of cached functions' keys only. Package cachify
// sets Of when it is initialised, so it is there for all who import that.
var Of func(opts any, name string)
