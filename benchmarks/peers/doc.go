// Package peers measures cachify beside other Go caches and the clients that they are built on. Each library sits behind an adapter in
// a file of its own; each work has a file of its own. Its test is short; scripts/benchmarks.sh runs it at full length and makes
// docs/benchmarks.md of what it found.
package peers
