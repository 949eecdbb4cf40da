-- Makes locks live longer, but never shorter: an attempt that arrives late does no harm. redislock's script would.
--
-- KEYS     the locks, of one Redis Cluster slot
-- ARGV[1]  the token that must hold all of them
-- ARGV[2]  how long they shall live from now at least, in milliseconds
--
-- Returns 1 if the token holds all of the locks, else 0. One that does not expire stays so.

local held = true
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) ~= ARGV[1] then held = false end
end
if not held then return 0 end

for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ARGV[2], 'GT')
end
return 1
