-- Renews the lease of a holder, or begins a new one where that has run out or what
-- it said is lost.
-- KEYS: sorted set of holders by the end of their lease, hash of holders to their
--   records, hash of holders to members, and what is to live on.
-- ARGV: 1 holder; 2 the next one; 3 member, empty: none is listed here; 4 ms of the
--   lease; 5 the number up to which its calls are known to be done; 6 this one's;
--   7 "1": a call was not taken.
-- Returns whether the holder stands.
local leases, records, members, holder = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
own(leases, 'zset')
own(records, 'hash')
own(members, 'hash')
local now, done = clock(), tonumber(ARGV[5])
alive(leases, records, now)
local ends = tonumber(redis.call('ZSCORE', leases, holder))
local order, mark = record(records, holder)
local stands = ARGV[7] == '0' and not (ends and ends <= now) and (done == 0 or ends and mark and mark >= done)
if not stands then
  redis.call('HDEL', records, holder)
  redis.call('HDEL', members, holder)
  if ends then
    -- What is said again moves from the old holder to the next; the rest goes.
    redis.call('ZADD', leases, digits(now + 5000), holder)
  end
  holder, order, mark = ARGV[2], 0, 0
end
redis.call('ZADD', leases, digits(now + tonumber(ARGV[4])), holder)
redis.call('HSET', records, holder, digits(order or 0) .. ' ' .. digits(math.max(mark or 0, tonumber(ARGV[6]))))
if ARGV[3] ~= '' then
  redis.call('HSET', members, holder, ARGV[3])
end
extend(unpack(KEYS))
return stands and 1 or 0
