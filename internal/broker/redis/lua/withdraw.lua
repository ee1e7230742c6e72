-- Ends the lease of a holder: what it said may be taken back.
-- KEYS: as in announce. ARGV: 1 holder.
own(KEYS[1], 'zset')
own(KEYS[3], 'hash')
redis.call('HDEL', KEYS[3], ARGV[1])
redis.call('ZADD', KEYS[1], 'XX', 0, ARGV[1])
return 1
