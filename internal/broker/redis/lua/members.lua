-- Lists the gateways whose lease has not run out.
-- KEYS: as in announce. Returns {member, ...}.
own(KEYS[1], 'zset')
own(KEYS[3], 'hash')
local holders = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. digits(clock()), '+inf', 'LIMIT', 0, 10000)
local members = {}
for _, holder in ipairs(holders) do
  members[#members + 1] = redis.call('HGET', KEYS[3], holder) or nil
end
return members
