-- Notes that a gateway is here, and tells whose lease has run out.
-- KEYS: leases, records. Returns {holder, ...}.
own(KEYS[1], 'zset')
own(KEYS[2], 'hash')
local now = clock()
alive(KEYS[1], KEYS[2], now)
extend(KEYS[2])
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now), 'LIMIT', 0, 16)
