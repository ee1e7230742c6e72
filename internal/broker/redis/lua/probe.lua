-- Publishes a proof of delivery. It writes, so that a replica refuses it; deleting
-- is allowed where memory is full.
-- KEYS: a key that is never set. ARGV: 1 channel; 2 payload; 3 PUBLISH or SPUBLISH.
redis.call('DEL', KEYS[1])
return redis.call(ARGV[3], ARGV[1], ARGV[2])
