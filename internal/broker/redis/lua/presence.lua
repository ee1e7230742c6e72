-- Says how many connections users have in a room by a holder.
-- KEYS: leases, records; then as crowd has them; those of the holder before.
-- ARGV: 1 to 4 as enter has them; 5 to 9 as finish has them; then user, connections,
--   ... Returns 1, or 0 where it was not taken.
if not enter(KEYS[1], KEYS[2], ARGV, true) then
  return 0
end
local c = crowd({KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7], KEYS[8]})
local mine, before = KEYS[8], KEYS[9]
own(before, 'hash')
local moves = redis.call('EXISTS', before) == 1
for i = 10, #ARGV, 2 do
  local user, has = ARGV[i], tonumber(ARGV[i + 1])
  local had = whole(redis.call('HGET', mine, user))
  if has > 0 then
    redis.call('HSET', mine, user, ARGV[i + 1])
  elseif had > 0 then
    redis.call('HDEL', mine, user)
  end
  if moves then
    had = had + whole(redis.call('HGET', before, user))
    redis.call('HDEL', before, user)
  end
  move(c, user, has - had, has)
end
finish(c, {ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9]})
return 1
