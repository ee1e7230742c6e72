-- Reads a page of the rooms that have users.
-- KEYS: their sorted set. ARGV: 1 the room before; 2 at most so many.
own(KEYS[1], 'zset')
local from = ARGV[1] == '' and '-' or '(' .. ARGV[1]
return redis.call('ZRANGE', KEYS[1], from, '+', 'BYLEX', 'LIMIT', 0, ARGV[2])
