-- Sets or keeps a lock that does not expire, which redislock knows nothing of.
--
-- KEYS[1]  the lock
-- ARGV[1]  the token
-- ARGV[2]  "set" to take the lock if it is free
--
-- Returns 1 if the lock holds the token now and does not expire, else 0.

local there = redis.call('GET', KEYS[1])
if there == ARGV[1] then
  redis.call('PERSIST', KEYS[1])
  return 1
end
if not there and ARGV[2] == 'set' then
  redis.call('SET', KEYS[1], ARGV[1])
  return 1
end
return 0
