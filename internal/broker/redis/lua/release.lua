-- Gives a name back, if the connection holds it.
-- KEYS: names, names given back, the holder's names, as in claim.
-- ARGV: 1 name; 2 connection; 3 ms of grace.
own(KEYS[1], 'hash')
own(KEYS[2], 'zset')
own(KEYS[3], 'set')
local free, holder, connection, key = named(KEYS[1], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
if free ~= 0 or connection ~= ARGV[2] then
  return 0
end
if ARGV[3] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
local ends = clock() + tonumber(ARGV[3])
name(KEYS[1], ARGV[1], ends, holder, connection, key)
redis.call('ZADD', KEYS[2], digits(ends), ARGV[1])
extend(KEYS[1], KEYS[2])
return 1
