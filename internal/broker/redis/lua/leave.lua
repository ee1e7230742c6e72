-- Takes back a part of the users of a room by a holder whose lease has run out.
-- KEYS: leases; then as crowd has them.
-- ARGV: 1 holder; 2 to 6 as finish has them; 7 a part's size.
own(KEYS[1], 'zset')
if not lapsed(KEYS[1], ARGV[1]) then
  return 0
end
local c = crowd({KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]})
local some = redis.call('HRANDFIELD', KEYS[7], ARGV[7], 'WITHVALUES')
for i = 1, #some, 2 do
  redis.call('HDEL', KEYS[7], some[i])
  move(c, some[i], -whole(some[i + 1]), 0)
end
finish(c, {ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]})
return 1
