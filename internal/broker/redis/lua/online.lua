-- Reads a page of a room's users.
-- KEYS: users in order, users to connections. ARGV: 1 the user before; 2 at most so
--   many. Returns {count, {user...}, {connections...}}.
own(KEYS[1], 'zset')
own(KEYS[2], 'hash')
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
local users = redis.call('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
local connections = {}
for i, user in ipairs(users) do
  connections[i] = math.max(1, whole(redis.call('HGET', KEYS[2], user)))
end
return {redis.call('ZCARD', KEYS[1]), users, connections}
