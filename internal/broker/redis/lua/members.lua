-- Lists the gateways whose lease has not run out, and forgets the others.
-- KEYS: as in announce. Returns {member, ...}.
local now = digits(clock())
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1000)
if #gone > 0 then
  redis.call('ZREM', KEYS[1], unpack(gone))
  redis.call('HDEL', KEYS[2], unpack(gone))
end
local ids = redis.call('ZRANGE', KEYS[1], 0, -1)
local members = {}
for i = 1, #ids do
  members[#members + 1] = redis.call('HGET', KEYS[2], ids[i]) or nil
end
return members
