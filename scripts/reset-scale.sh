#!/usr/bin/env bash
# Measures ResetAll and ResetTags on a redis-server that it starts and fills: with 1,000, 100,000 and 1,000,000 entries, and with as many as
# the argument says (default 10,000,000, which takes about 3 GB; fewer where memory does not allow that). docs/reset-scale.txt holds the output of such a run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
entries=${1:-10000000}
if [[ -r /proc/meminfo ]]; then
  available=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) # KiB
  most=$((available * 1024 / 600)) # bytes that an entry takes, twice: the server's tables grow by copying
  if ((entries > most)); then
    echo "Memory allows $most entries only, not $entries."
    entries=$most
  fi
fi
redis-server --version
export CACHIFY_REQUIRE_REDIS=1
CACHIFY_RESET_SCALE=$entries go test -count=1 -timeout 60m -v -run '^TestResetScale$' ./internal/faulttest | grep -v '^=== RUN'
