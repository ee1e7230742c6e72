-- Reads a part of a room's log.
-- KEYS: the room's state, its stream.
-- ARGV: 1 epoch of a log that begins; 2 messages, 3 bytes, 4 age in ms that the
--   room keeps; 5 from, 6 to, both included; 7 at most so many; 8 "1": newest
--   first; 9 ms that the state of a room that is not known lives.
-- Returns {epoch, last, first, {value...}, {seq...}}.
local key, stream = KEYS[1], KEYS[2]
local last, _, total, _, _, _, epoch = read(key)
if not last then
  last, _, total, _, _, _, epoch = begin(key, stream, ARGV[1], ARGV[9])
end
local first = settle(stream, last, clock(), total, tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]))
local values, seqs = {}, {}
local from, to = tonumber(ARGV[5]), math.min(tonumber(ARGV[6]), last)
if first and from <= to then
  local entries
  if ARGV[8] == '1' then
    entries = redis.call('XREVRANGE', stream, digits(to) .. '-0', digits(from) .. '-0', 'COUNT', ARGV[7])
  else
    entries = redis.call('XRANGE', stream, digits(from) .. '-0', digits(to) .. '-0', 'COUNT', ARGV[7])
  end
  for i, e in ipairs(entries) do
    values[i], seqs[i] = e[2][2], digits(seqof(e))
  end
end
return {epoch, digits(last), digits(first or last + 1), values, seqs}
