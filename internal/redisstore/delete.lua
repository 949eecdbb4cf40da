-- Removes a key if what is there allows it, and tells its channel in any case.
--
-- KEYS[1]  the key; it is also the channel
-- ARGV[1]  the head: remove only a value that begins with it. Left out: remove always.
--
-- Returns 1 if the key was there and is gone, else 0. A key of another type matches no head.

local key, head = KEYS[1], ARGV[1]

local gone = 0
if not head or #head == 0 or redis.pcall('GETRANGE', key, 0, #head - 1) == head then
  gone = redis.call('UNLINK', key)
end
redis.pcall('PUBLISH', key, '') -- pcall: a user who may not publish can still delete
return gone
