-- Takes a name, unless another holds it or held it within its grace.
-- KEYS: leases, records, names, sorted set of names that were given back by the end
--   of their grace, set of the holder's names.
-- ARGV: 1 to 4 as enter has them; 5 name; 6 key; 7 connection.
-- Returns 1; 0 where another has it; -1 where the call was not taken.
if not enter(KEYS[1], KEYS[2], ARGV, false) then
  return -1
end
local leases, names, released = KEYS[1], KEYS[3], KEYS[4]
own(names, 'hash')
own(released, 'zset')
own(KEYS[5], 'set')
local now = clock()
alive(leases, KEYS[2], now) -- it may be the first to come after an outage
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', released, '-inf', digits(now), 'LIMIT', 0, 16)) do
  local free = named(names, gone)
  if free and free > 0 and free <= now then
    redis.call('HDEL', names, gone)
  end
  redis.call('ZREM', released, gone)
end
local free, holder, connection, key = named(names, ARGV[5])
if free and connection ~= ARGV[7] and (key == '' or key ~= ARGV[6]) then
  local ends = tonumber(redis.call('ZSCORE', leases, holder))
  if free > now or free == 0 and ends and ends > now then
    return 0
  end
end
name(names, ARGV[5], 0, ARGV[1], ARGV[7], ARGV[6])
redis.call('SADD', KEYS[5], ARGV[5])
redis.call('ZREM', released, ARGV[5])
extend(names, released, KEYS[5])
return 1
