-- Sees to it that all tags of a list exist.
--
-- KEYS     tags of one Redis Cluster slot; KEYS[1] hands out the stamps of its prefix
-- ARGV[1]  the time in milliseconds that KEYS[2] and on shall be there for at least, -1 for ever
--
-- Returns their stamps. An absent KEYS[1] starts from the clock, in microseconds since 1970, and does not expire.
-- Others that are absent get its stamp. A time to live is only ever made longer. What is no stamp counts as absent.

local ttl = ARGV[1]

local function stamp(key)
  local v = redis.pcall('GET', key)
  if type(v) ~= 'string' or not string.find(v, '^[1-9]%d*$') or #v > 16 or tonumber(v) > 9007199254740991 then
    return nil
  end
  return v
end

local first = stamp(KEYS[1])
if not first then
  local now = redis.call('TIME')
  first = string.format('%.0f', now[1] * 1000000 + now[2])
  redis.call('SET', KEYS[1], first)
end

local stamps = {first}
for i = 2, #KEYS do
  local there = stamp(KEYS[i])
  if not there then
    if ttl == '-1' then
      redis.call('SET', KEYS[i], first)
    else
      redis.call('SET', KEYS[i], first, 'PX', ttl)
    end
  elseif ttl == '-1' then
    redis.call('PERSIST', KEYS[i])
  else
    redis.call('PEXPIRE', KEYS[i], ttl, 'GT')
  end
  stamps[i] = there or first
end
return stamps
