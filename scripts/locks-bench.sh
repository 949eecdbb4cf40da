#!/usr/bin/env bash
# Measures the locks: hand-over under contention beside redislock, redsync and rueidislock, many leases renewed by one client, and the price
# of an uncontended lock beside redislock. Takes about six minutes, needs a redis-server and starts its own. docs/locks-bench.txt holds the
# output of such a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../benchmarks"
export CACHIFY_REQUIRE_REDIS=1
CACHIFY_LOCKS_BENCH=full go test -count=1 -timeout 30m -v -run 'TestHandover|TestLeases' ./locks
go test -run '^$' -bench '^BenchmarkLock' -benchtime "${BENCHTIME:-1s}" . | grep -v '^pkg:'
