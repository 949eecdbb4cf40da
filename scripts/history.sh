#!/usr/bin/env bash
# The long history test on a real Redis: OPERATIONS (default 1,200,000) over PROCESSES (default 4). Takes a few minutes.
# docs/history-run.txt holds the output of such a run.
set -euo pipefail
cd "$(dirname "$0")/.."
export CACHIFY_REQUIRE_REDIS=1
export CACHIFY_HISTORY_OPERATIONS=${OPERATIONS:-1200000}
export CACHIFY_HISTORY_PROCESSES=${PROCESSES:-4}
go test -count=1 -timeout 60m -v -run TestRedisProcesses ./internal/history
CACHIFY_HISTORY_OPERATIONS=100000 go test -count=1 -v -run 'TestMemory|TestCanFail' ./internal/history
