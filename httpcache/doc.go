// Package httpcache makes a handler remember its answers: a shared HTTP cache (RFC 9111) as a middleware, in a cachify
// client's store, which is Redis, so that all processes of a service share it, or the memory of one.
//
//	cache := httpcache.New(client, &httpcache.Options{TTL: 5 * time.Minute})
//	mux.Handle("GET /users/{id}", cache.Handler(usersHandler))
//	cache.Purge(ctx, "/users/42")
//
// With Options.TTL, an answer that says nothing of its freshness is stored for that long. Without, only those are stored
// that say so themselves, by Cache-Control, Expires or [SetTTL]. In both modes what a response forbids is not stored: no-store,
// private, Set-Cookie, the answer to a request with Authorization unless it says that it is for all.
//
// A handler keeps working as it did. It runs in its request's goroutine, its answer streams to its client while a copy of up to
// Options.MaxBody is kept, a panic goes where it went, and what outer middlewares set in the header stays every request's own. When
// the store is down, each request is answered by its handler. Among concurrent requests for what is not stored, one runs the
// handler, in whichever process, and the others wait for its answer, but only if it may be shared.
//
// A request that changes something, such as PUT, removes what is stored of its URL when it has succeeded. [Cache.Purge],
// [Cache.PurgeTags] and [Cache.PurgeAll] do it from code, with cachify's promise: no request that starts afterwards gets an answer
// that was made before.
//
// docs/httpcache.md has every directive, the security rules, and how to choose a TTL.
//
// # What keys are made of
//
// Scheme, host, path and query as the client sent them, the parameters in the order of their names; the forwarding
// headers (X-Forwarded-Host, -Proto, -Port and -Prefix, X-Original-Url, X-Rewrite-Url) if there are any; what
// Options.KeyHeaders and Options.Key add; and the request headers that the answer's Vary names. A handler that looks at anything
// else of a request has to say so by Vary, or its answers must not be stored.
//
// # What every answer says
//
// The header X-Cache, or Options.Header, says Hit for a stored answer and Miss for one that the handler has just made.
// Cache-Status (RFC 9211) says why:
//
//	cachify; hit; ttl=297                           from the store, fresh for 297 seconds more
//	cachify; hit; ttl=-3                            stale, made anew in the background meanwhile
//	cachify; fwd=uri-miss; ttl=300; stored          made by the handler, and stored
//	cachify; fwd=uri-miss; ttl=300; collapsed       made by the handler for another request at the same time
//	cachify; fwd=uri-miss; detail=set-cookie        made by the handler, and why it is not stored
//	cachify; fwd=uri-miss; detail=hit-for-miss      nothing could be shared there of late, so nobody waited
//	cachify; fwd=vary-miss                          no answer for these request headers
//	cachify; fwd=stale; fwd-status=304; ttl=300     the handler said that the stored answer is still good
//	cachify; fwd=stale; fwd-status=503; ttl=-20     the handler failed, stale-if-error
//	cachify; fwd=request; ttl=300; stored           the request insisted, by no-cache or max-age
//	cachify; fwd=method                             a method that is not for caches
//	cachify; fwd=bypass; detail=store               the store could not be asked
//
// An answer from the store has an ETag: the handler's, or a hash of the content. One that the handler has just made has one if it
// is no longer than 2 KiB and the handler does not flush it, as its header goes out before the rest is known otherwise.
package httpcache
