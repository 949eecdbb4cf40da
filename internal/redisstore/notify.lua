-- Tells the channel of a key, on the node that has the key and so after what the same pipeline did to it before.
--
-- KEYS[1]  the key and the channel

redis.pcall('PUBLISH', KEYS[1], '') -- pcall: a user who may not publish can still unlock
return 1
