-- Sets the time to live of a key anew if what is there allows it.
--
-- KEYS[1]  the key
-- ARGV[1]  the time to live in milliseconds, -1 for none
-- ARGV[2]  the head: act only on a value that begins with it. Left out: act always.
--
-- Returns 1 if the key was there and allowed it, else 0. A key of another type matches no head.

local key, ttl, head = KEYS[1], ARGV[1], ARGV[2]

if redis.call('EXISTS', key) == 0 then return 0 end
if head and #head > 0 and redis.pcall('GETRANGE', key, 0, #head - 1) ~= head then return 0 end

if ttl == '-1' then
  redis.call('PERSIST', key)
else
  redis.call('PEXPIRE', key, ttl)
end
return 1
