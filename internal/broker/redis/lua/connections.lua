-- Says which connections of a holder began and ended.
-- KEYS: leases, records, the holder's connections to their users, those of the
--   holder before, events.
-- ARGV: 1 to 4 as enter has them; 5 gateway; 6 events kept; then connection, user,
--   "1" for an end, reason, ... Returns 1, or 0 where it was not taken.
if not enter(KEYS[1], KEYS[2], ARGV, true) then
  return 0
end
local mine, before, stream = KEYS[3], KEYS[4], KEYS[5]
own(mine, 'hash')
own(before, 'hash')
own(stream, 'stream')
for i = 7, #ARGV, 4 do
  local connection, user = ARGV[i], ARGV[i + 1]
  local moved = redis.call('HDEL', before, connection) == 1
  if ARGV[i + 2] == '1' then
    redis.call('HDEL', mine, connection)
    event(stream, ARGV[6], 'type', 'disconnected', 'gateway', ARGV[5], 'connection', connection, 'user', user,
      'reason', ARGV[i + 3])
  elseif redis.call('HSET', mine, connection, user) == 1 and not moved then
    event(stream, ARGV[6], 'type', 'connected', 'gateway', ARGV[5], 'connection', connection, 'user', user)
  end
end
extend(mine, before, stream)
return 1
