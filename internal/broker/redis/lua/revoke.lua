-- Keeps a revocation until it runs out.
-- KEYS: hash of what is revoked to "UNTIL BEFORE", sorted set of it by until, the
--   version of both.
-- ARGV: 1 what; 2 until, 3 before, in ms; 4 the version that it makes; 5 at most so
--   many. Returns 0 where there are as many.
own(KEYS[1], 'hash')
own(KEYS[2], 'zset')
local now = clock()
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', digits(now), 'LIMIT', 0, 1000)
for _, what in ipairs(gone) do
  redis.call('HDEL', KEYS[1], what)
  redis.call('ZREM', KEYS[2], what)
end
local ends, before = tonumber(ARGV[2]), tonumber(ARGV[3])
if ends <= now then
  return 1
end
local was = redis.call('HGET', KEYS[1], ARGV[1])
if not was and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  return 0
end
local wasEnds, wasBefore = string.match(was or '', '^(%d+) (%d+)$')
ends = math.max(ends, tonumber(wasEnds) or 0)
before = math.max(before, tonumber(wasBefore) or 0)
redis.call('HSET', KEYS[1], ARGV[1], digits(ends) .. ' ' .. digits(before))
redis.call('ZADD', KEYS[2], digits(ends), ARGV[1])
redis.call('SET', KEYS[3], ARGV[4])
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
for i = 1, 3 do
  redis.call('PEXPIRE', KEYS[i], digits(math.max(1, tonumber(last[2]) - now) + 1000))
end
return 1
