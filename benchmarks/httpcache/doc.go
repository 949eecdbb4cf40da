// Package httpcache measures a hit of cachify's httpcache beside the bare handler and beside two other caches for handlers,
// victorspringer/http-cache and go-chi/stampede, both with their store in memory. What the others leave out, such as headers of outer
// middlewares, conditional requests, ages and Cache-Status, they do not pay for either. In this folder,
//
//	CACHIFY_REQUIRE_REDIS=1 go test -run '^$' -bench . -benchtime 1s
//
// measures all of it in about a minute. It needs a redis-server, and starts its own.
package httpcache
