// Package locks measures cachify's locks beside those of bsm/redislock, redsync and rueidislock. Its tests are short; scripts/locks-bench.sh
// runs them at full length.
package locks
