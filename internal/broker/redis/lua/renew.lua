-- Begins a new epoch of a room's log, if it still is of the epoch given. What the
-- log keeps stays, as the new epoch's.
-- KEYS: the room's state, its stream.
-- ARGV: 1 epoch that was; 2 the new one; 3 ms that the state lives; 4 channel;
--   5 PUBLISH or SPUBLISH; 6 messages, 7 bytes, 8 age in ms that the room keeps.
-- Returns the epoch that holds.
local key, stream = KEYS[1], KEYS[2]
local seq, time, total, look, full, stamp, epoch = read(key)
local before = 0
if not seq then
  begin(key, stream, ARGV[2], ARGV[3])
elseif epoch == ARGV[1] then
  before = renew(key, stream, seq, time, total, look, full, stamp, ARGV[2], ARGV[6], ARGV[7], ARGV[8])
else
  return epoch
end
tell(ARGV[5], ARGV[4], before, ARGV[2])
return ARGV[2]
