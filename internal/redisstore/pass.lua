-- Hands locks over from one holder to another, without telling anybody.
--
-- KEYS     the locks, of one Redis Cluster slot
-- ARGV[1]  the token of the new holder
-- ARGV[2]  the time to live in milliseconds, -1 for none
-- ARGV[3]  the token of the old holder
--
-- Returns 1 if the new holder has all of the locks now, else 0. They must all have been the old holder's, or all
-- the new one's already.

local token, ttl, from = ARGV[1], ARGV[2], ARGV[3]

local old, new = 0, 0
for _, key in ipairs(KEYS) do
  local there = redis.call('GET', key)
  if there == from then old = old + 1 end
  if there == token then new = new + 1 end
end
if old < #KEYS and new < #KEYS then return 0 end

for _, key in ipairs(KEYS) do
  if ttl == '-1' then
    redis.call('SET', key, token)
  else
    redis.call('SET', key, token, 'PX', ttl)
  end
end
return 1
