#!/usr/bin/env bash
# Measures cachify beside its peers and makes docs/benchmarks.md and docs/benchmarks/*.svg of it. Takes at most ten minutes on two cores
# (SCALE=short: two or three, for a look), needs a redis-server and starts its own. Nothing else should be running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../benchmarks"
mkdir -p ../docs/benchmarks
run=$PWD/../docs/benchmarks/run.json
CACHIFY_REQUIRE_REDIS=1 CACHIFY_PEERS_BENCH="${SCALE:-full}" CACHIFY_PEERS_OUT=$run go test -count=1 -timeout 20m -run '^TestPeers$' "$@" ./peers
go run ./page -run "$run"
