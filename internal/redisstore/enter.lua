-- Takes a slot of a semaphore, keeps one, or takes one over.
--
-- KEYS[1]  the semaphore: the tokens that hold its slots, sorted by when they expire, in microseconds since 1970,
--          +inf for never
-- ARGV[1]  the token
-- ARGV[2]  the time to live in milliseconds, -1 for none
-- ARGV[3]  how many slots there are; 0 only keeps one that the token holds already, and never for a shorter time: an
--          attempt that arrives late does no harm
-- ARGV[4]  the token whose slot is taken over; empty: none
--
-- Returns 1 if the token holds a slot now, else 0.

local key, token, ttl, slots, from = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))

local free
if from == '' then
  free = redis.call('ZCARD', key) < slots
else
  free = redis.call('ZREM', key, from) == 1
  if free and redis.call('ZSCORE', key, token) then
    redis.pcall('PUBLISH', key, '') -- there is one slot more than before
  end
end
if not free and not redis.call('ZSCORE', key, token) then return 0 end

local expiry = '+inf'
if ttl ~= -1 then expiry = string.format('%.0f', now + ttl * 1000) end
if slots == 0 then
  redis.call('ZADD', key, 'GT', expiry, token)
else
  redis.call('ZADD', key, expiry, token)
end

-- The key itself lives as long as its last token, to the end of that millisecond.
local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
if not last or last == math.huge then -- tonumber may not know infinity
  redis.call('PERSIST', key)
else
  redis.call('PEXPIREAT', key, string.format('%.0f', math.floor(last / 1000)))
end
return 1
