-- Tells who holds a lock or the slots of a semaphore.
--
-- KEYS[1]  the lock, or the semaphore, see enter.lua
-- ARGV[1]  "lock" or "semaphore"
--
-- Returns the token of each holder, followed by the milliseconds it has left, -1 for ever.

local key = KEYS[1]

if ARGV[1] == 'lock' then
  local token = redis.call('GET', key)
  if not token then return {} end
  return {token, redis.call('PTTL', key)}
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local holders = redis.call('ZRANGEBYSCORE', key, '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
for i = 2, #holders, 2 do
  local expiry = tonumber(holders[i])
  if not expiry or expiry == math.huge then -- tonumber may not know infinity
    holders[i] = -1
  else
    holders[i] = math.floor((expiry - now) / 1000)
  end
end
return holders
