-- Takes or keeps locks that do not expire, which redislock knows nothing of.
--
-- KEYS     the locks, of one Redis Cluster slot
-- ARGV[1]  the token
-- ARGV[2]  "set" to take them if they are all free
--
-- Returns 1 if the token holds all of the locks now and they do not expire, else 0.

local token = ARGV[1]

local mine, free = 0, 0
for _, key in ipairs(KEYS) do
  local there = redis.call('GET', key)
  if there == token then mine = mine + 1 end
  if not there then free = free + 1 end
end

if mine == #KEYS then
  for _, key in ipairs(KEYS) do redis.call('PERSIST', key) end
  return 1
end
if free == #KEYS and ARGV[2] == 'set' then
  for _, key in ipairs(KEYS) do redis.call('SET', key, token) end
  return 1
end
return 0
