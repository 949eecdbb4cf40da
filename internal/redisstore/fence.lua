-- Gives a holder of locks a number that is greater than that of every earlier holder: a fencing token.
--
-- KEYS     the locks, then as many keys that remember their last numbers, all of one Redis Cluster slot
-- ARGV[1]  the token that must hold all of the locks
-- ARGV[2]  how long the numbers are remembered, in milliseconds
--
-- Returns the number, or nothing if the token does not hold the locks. It is the greatest of the last numbers plus one, or
-- the clock in microseconds since 1970 if that is greater, so that a lost number can't take it back. It is kept as
-- "<number> <token>", and is the same again for the same token. What is not of that form counts as absent.

local token, ttl = ARGV[1], ARGV[2]
local n = #KEYS / 2
local max = 9007199254740991 -- what floating point can count to

for i = 1, n do
  if redis.call('GET', KEYS[i]) ~= token then return false end
end

local mine, last = 0, 0
for i = n + 1, 2 * n do
  local there = redis.pcall('GET', KEYS[i])
  local digits, holder = string.match(type(there) == 'string' and there or '', '^([1-9]%d*) (.+)$')
  local number = digits and tonumber(digits) or 0
  if holder == token and number <= max then
    mine = math.max(mine, number)
  elseif number < max then
    last = math.max(last, number)
  end
end

local number = mine
if mine <= last then -- of keys that had other holders since
  local now = redis.call('TIME')
  number = math.max(now[1] * 1000000 + now[2], last + 1)
end
local text = string.format('%.0f', number) -- tostring would give 1.7e+15

for i = n + 1, 2 * n do
  redis.call('SET', KEYS[i], text .. ' ' .. token, 'PX', ttl)
end
return text
