-- Takes back a part of the names and connections of a holder whose lease has run
-- out, and forgets it once nothing of it is left.
-- KEYS: leases, records, members, the holder's rooms, its connections, its names,
--   names, events.
-- ARGV: 1 holder; 2 gateway; 3 events kept; 4 a part's size.
-- Returns {1, room, ...} with some of its rooms; {0} where it is done.
local leases, records, members, rooms, connections, names = unpack(KEYS)
local holder = ARGV[1]
own(leases, 'zset')
if not lapsed(leases, holder) then
  return {0}
end
own(records, 'hash')
own(members, 'hash')
own(rooms, 'set')
own(connections, 'hash')
own(names, 'set')
own(KEYS[7], 'hash')
own(KEYS[8], 'stream')
redis.call('HDEL', members, holder)
local some = redis.call('HRANDFIELD', connections, ARGV[4], 'WITHVALUES')
for i = 1, #some, 2 do
  redis.call('HDEL', connections, some[i])
  event(KEYS[8], ARGV[3], 'type', 'disconnected', 'gateway', ARGV[2], 'connection', some[i], 'user', some[i + 1],
    'reason', 'gateway_lost')
end
for _, gone in ipairs(redis.call('SPOP', names, ARGV[4])) do
  local free, by = named(KEYS[7], gone)
  if free == 0 and by == holder then
    redis.call('HDEL', KEYS[7], gone)
  end
end
local answer = {1}
for _, room in ipairs(redis.call('SRANDMEMBER', rooms, 32)) do
  answer[#answer + 1] = room
end
if #answer == 1 and redis.call('EXISTS', connections, names) == 0 then
  redis.call('ZREM', leases, holder)
  redis.call('HDEL', records, holder)
  return {0}
end
return answer
