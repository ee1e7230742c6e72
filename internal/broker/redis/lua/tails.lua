-- Tells where the logs of rooms end, and lets their states live on. A room that is
-- not known begins.
-- KEYS: for each room its state and its stream.
-- ARGV: 1 base of the epochs of logs that begin; 2 ms that a state lives.
-- Returns {epoch, seq, stamp, ...}.
local life = tonumber(ARGV[2])
local tails = {}
for i = 1, #KEYS, 2 do
  local seq, _, _, _, _, stamp, epoch = read(KEYS[i])
  if not seq then
    seq, _, _, _, _, stamp, epoch = begin(KEYS[i], KEYS[i + 1], ARGV[1] .. '_' .. i, ARGV[2])
  elseif redis.call('PTTL', KEYS[i]) < life / 2 then
    redis.call('PEXPIRE', KEYS[i], ARGV[2])
  end
  tails[#tails + 1] = epoch
  tails[#tails + 1] = digits(seq)
  tails[#tails + 1] = stamp
end
return tails
