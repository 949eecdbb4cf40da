#!/usr/bin/env bash
# Runs all benchmarks for some rounds, 5 if not told otherwise, and prints the median of each figure.
# It needs a redis-server and starts its own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if ! out=$(CACHIFY_REQUIRE_REDIS=1 go test -run '^$' -bench . -benchtime "${BENCHTIME:-1s}" -count "${1:-5}" 2>&1); then
  echo "$out" >&2
  exit 1
fi
grep -E '^(goos|goarch|cpu)' <<<"$out"
awk '
  /^Benchmark/ {
    sub(/^Benchmark/, "", $1); sub(/-[0-9]+$/, "", $1)
    if (!($1 in seen)) { names[++n] = $1; seen[$1] = 1 }
    for (i = 3; i < NF; i += 2) {
      unit = $(i + 1)
      if (unit == "ns/op" && $i == 0) continue
      if (!(($1, unit) in count)) units[$1] = units[$1] " " unit
      value[$1, unit, ++count[$1, unit]] = $i
    }
  }
  function median(name, unit,   m, i, j, t) {
    m = count[name, unit]
    for (i = 1; i <= m; i++) sorted[i] = value[name, unit, i]
    for (i = 2; i <= m; i++) for (j = i; j > 1 && sorted[j - 1] + 0 > sorted[j] + 0; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
    return sorted[int((m + 1) / 2)]
  }
  END {
    for (k = 1; k <= n; k++) {
      line = sprintf("%-32s", names[k])
      m = split(units[names[k]], u, " ")
      for (i = 1; i <= m; i++) line = line sprintf("  %10s %s", median(names[k], u[i]), u[i])
      print line
    }
  }' <<<"$out"
