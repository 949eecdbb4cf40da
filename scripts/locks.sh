#!/usr/bin/env bash
# The long test of locks and semaphores on a real Redis: HOLDINGS (default 10,000) of each, and PAUSES and FLUSHES
# (default 60). Takes some five minutes. docs/locks-run.txt holds the output of such a run.
set -euo pipefail
cd "$(dirname "$0")/.."
export CACHIFY_REQUIRE_REDIS=1
export CACHIFY_LOCKS_HOLDINGS=${HOLDINGS:-10000}
export CACHIFY_LOCKS_PAUSES=${PAUSES:-60}
export CACHIFY_LOCKS_FLUSHES=${FLUSHES:-60}
go test -count=1 -timeout 30m -v -run '^Test(Lock|Semaphore|Paused|Counter|Flush|Controls|Memory)$' ./internal/exclusion |
  grep -vE '^=== (RUN|PAUSE|CONT|NAME)'
