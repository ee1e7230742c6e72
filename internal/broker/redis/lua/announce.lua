-- Renews the lease of a gateway.
-- KEYS: sorted set of ids by the end of their lease, hash of ids to members.
-- ARGV: 1 id; 2 member; 3 ms of the lease.
for i, kind in ipairs({'zset', 'hash'}) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= kind and is ~= 'none' then
    redis.call('DEL', KEYS[i]) -- another wrote to our key
  end
end
local ends = clock() + tonumber(ARGV[3])
redis.call('ZADD', KEYS[1], digits(ends), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], 86400000)
redis.call('PEXPIRE', KEYS[2], 86400000)
return 1
