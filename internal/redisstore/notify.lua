-- Tells the channels of keys, on the node that has the keys and so after what the same pipeline did to them before.
--
-- KEYS     the keys and the channels, of one Redis Cluster slot

for _, key in ipairs(KEYS) do
  redis.pcall('PUBLISH', key, '') -- pcall: a user who may not publish can still unlock
end
return 1
