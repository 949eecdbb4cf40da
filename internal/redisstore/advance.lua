-- Takes the next stamp and writes it to all tags of a list.
--
-- KEYS     tags of one Redis Cluster slot; KEYS[1] hands out the stamps of its prefix, and is the channel that is told:
--          "<stamp> " and then each of the other tags as "<length>:<tag>"
-- ARGV[1]  the time in milliseconds that KEYS[2] and on shall be there for at least, -1 for ever
--
-- Returns the stamp: the greater of that of KEYS[1] plus one and the clock in microseconds since 1970, so that a lost
-- KEYS[1] can't take it back. KEYS[1] does not expire. What is no stamp counts as absent.

local ttl = tonumber(ARGV[1])

local now = redis.call('TIME')
local n = now[1] * 1000000 + now[2]
local last = redis.pcall('GET', KEYS[1])
if type(last) == 'string' and string.find(last, '^[1-9]%d*$') and #last <= 16 and tonumber(last) < 9007199254740991 then
  n = math.max(n, last + 1)
end
local stamp = string.format('%.0f', n) -- tostring would give 1.7e+15

redis.call('SET', KEYS[1], stamp)
for i = 2, #KEYS do
  local left = redis.call('PTTL', KEYS[i]) -- -2: absent, -1: does not expire
  if ttl == -1 or left == -1 then
    redis.call('SET', KEYS[i], stamp)
  else
    redis.call('SET', KEYS[i], stamp, 'PX', string.format('%.0f', math.max(ttl, left)))
  end
end

local message = {stamp, ' '}
for i = 2, #KEYS do
  table.insert(message, #KEYS[i] .. ':' .. KEYS[i])
end
redis.pcall('PUBLISH', KEYS[1], table.concat(message)) -- pcall: a user who may not publish can still reset
return stamp
