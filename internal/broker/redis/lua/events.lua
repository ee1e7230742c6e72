-- Reads events. KEYS: their stream. ARGV: 1 the id before, "$": the newest's alone;
--   2 at most so many. Returns {id, {word...}, ...}.
own(KEYS[1], 'stream')
local entries
if ARGV[1] == '$' then
  entries = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
else
  entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2])
end
local flat = {}
for _, e in ipairs(entries) do
  flat[#flat + 1] = e[1]
  flat[#flat + 1] = e[2]
end
return flat
