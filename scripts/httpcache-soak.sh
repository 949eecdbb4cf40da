#!/usr/bin/env bash
# The long soak of package httpcache with the race detector: SOAK (default 30s) on each store. Random requests to random routes, with clients that
# leave, handlers that panic, writes and purges; every answer is checked against what its handler would have said.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export CACHIFY_REQUIRE_REDIS=1
CACHIFY_HTTPCACHE_SOAK=${SOAK:-30s} go test -race -count=1 -timeout 60m -v -run '^TestSoak$' ./httpcache | grep -v '^=== '
