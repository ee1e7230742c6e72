-- Reads what is revoked, unless it is of the version that is known.
-- KEYS: as in revoke. ARGV: 1 the version known.
-- Returns 1, or {version, {what, "UNTIL BEFORE", ...}}.
local version = redis.pcall('GET', KEYS[3])
version = type(version) == 'string' and version or ''
if version == ARGV[1] then
  return 1
end
own(KEYS[1], 'hash')
return {version, redis.call('HGETALL', KEYS[1])}
