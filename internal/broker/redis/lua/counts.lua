-- Counts members. KEYS: sorted sets. Returns {count, ...}.
local counts = {}
for i, key in ipairs(KEYS) do
  local n = redis.pcall('ZCARD', key)
  counts[i] = type(n) == 'number' and n or 0
end
return counts
