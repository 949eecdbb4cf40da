-- Writes a value if what is there allows it.
--
-- KEYS[1]  the key; it is also the channel that is told of the change, with the beginning of the value
-- ARGV[1]  the value
-- ARGV[2]  its time to live in milliseconds, -1 for none
-- ARGV[3]  the head: write only over a value that begins with it. Left out: write always.
--
-- Returns 1 if the value was written, or its own first #head bytes are there already, else 0.
-- Only as much as the head is long is read of the present value. A key of another type matches no head.

local key, value, ttl, head = KEYS[1], ARGV[1], ARGV[2], ARGV[3]

if head and #head > 0 then
  if redis.call('EXISTS', key) == 0 then return 0 end
  local there = redis.pcall('GETRANGE', key, 0, #head - 1)
  if there ~= head then
    if there == string.sub(value, 1, #head) then return 1 end
    return 0
  end
end

if ttl == '-1' then
  redis.call('SET', key, value)
else
  redis.call('SET', key, value, 'PX', ttl)
end
redis.pcall('PUBLISH', key, string.sub(value, 1, 20)) -- pcall: a user who may not publish can still write
return 1
