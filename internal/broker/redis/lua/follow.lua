-- Enters a server as the master of a term, and calls the roll: it takes no
-- publications before all gateways of its list have said that they follow it and
-- have held its logs against what they know.
-- KEYS: leases, the term, what it is open by.
-- ARGV: 1 name of the term; 2 its token, should it begin here; 3 "1": the caller
--   has compared; 4 "1": it has waited for long enough; 5... the gateways it speaks for.
-- Returns {token, what it is open by}, which is empty where it is not.
local leases, term, open = KEYS[1], KEYS[2], KEYS[3]
own(leases, 'zset')
own(term, 'hash')
own(open, 'string')
local token = redis.call('HGET', term, 'token')
if not token or redis.call('HGET', term, 'name') ~= ARGV[1] then
  -- What another master's term was open by came with its data.
  redis.call('DEL', open, term)
  token = ARGV[2]
  redis.call('HSET', term, 'name', ARGV[1], 'token', token)
  for _, holder in ipairs(redis.call('ZRANGE', leases, 0, 9999)) do
    redis.call('HSET', term, '/' .. string.match(holder, '^(.*)/') or holder, '')
  end
end
if ARGV[3] == '1' then
  for i = 5, #ARGV do
    redis.call('HDEL', term, '/' .. ARGV[i])
  end
end
local by = redis.call('GET', open)
if by ~= token and by ~= token .. '!' then
  by = redis.call('HLEN', term) == 2 and token or ARGV[4] == '1' and token .. '!' or ''
  if by ~= '' then
    redis.call('SET', open, by)
  end
end
return {token, by}
