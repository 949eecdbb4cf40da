-- Gives a slot of a semaphore back, and tells its channel in any case.
--
-- KEYS[1]  the semaphore, see enter.lua; it is also the channel
-- ARGV[1]  the token
--
-- Returns 1 if the token held a slot, else 0.

local key, token = KEYS[1], ARGV[1]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', now))
local held = redis.call('ZREM', key, token)

-- The key itself lives as long as its last token: else one that died would stay for ever after one that does not expire.
local last = tonumber(redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')[2])
if last and last ~= math.huge then
  redis.call('PEXPIREAT', key, string.format('%.0f', math.floor(last / 1000)))
end
redis.pcall('PUBLISH', key, '') -- pcall: a user who may not publish can still leave
return held
