-- What the scripts that follow share. A room is two keys: a string with its state,
-- and a stream whose ids are SEQ-0 and whose entries have one field.
--
-- The state is packed, since a hash of it cost each publication twice as much: a
-- byte for its version; five integers of 8 bytes: seq of the newest message, its
-- time, the bytes of data that there have been in the epoch, the time and the bytes
-- at which the log is next held against its bounds; 11 characters of the newest
-- message's stamp; the rest is the epoch. Times are Unix milliseconds.
--
-- The value of an entry: its time, the bytes before it, both of 8 bytes, and the body.
-- Neither falls from one entry to the next, so that the oldest to stay is found by
-- bisection.

local layout = '>BI8I8I8I8I8c11'
local most = 9007199254740991

local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function digits(n)
  return string.format('%.0f', n)
end

-- read returns a room's seq, time, bytes, time and bytes of the next look, stamp and
-- epoch; or nil where the state is gone or not ours.
local function read(key)
  local v = redis.pcall('GET', key)
  if type(v) ~= 'string' or #v < 53 or #v > 116 then
    return nil
  end
  local version, seq, time, bytes, look, full, stamp = struct.unpack(layout, v)
  if version ~= 1 or seq >= most then
    return nil
  end
  return seq, time, bytes, look, full, stamp, string.sub(v, 53)
end

local function write(key, seq, time, bytes, look, full, stamp, epoch)
  redis.call('SET', key, struct.pack(layout, 1, seq, time, bytes, look, full, stamp) .. epoch, 'KEEPTTL')
end

-- begin makes a room whose state is gone: nothing of an older log stays. Its first
-- write is one that a full memory refuses, for after DEL none would be refused.
local function begin(key, stream, epoch, life)
  write(key, 0, 0, 0, 0, 0, '-----------', epoch)
  redis.call('PEXPIRE', key, life)
  redis.call('DEL', stream)
  return 0, 0, 0, 0, 0, '-----------', epoch
end

local function seqof(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

-- trim lets go of the entries that are not younger than oldest, or that begin
-- before floor. It returns the bytes before the first that stays, and its seq.
local function trim(stream, last, oldest, floor)
  local function look(id)
    local e = redis.call('XRANGE', stream, id, '+', 'COUNT', 1)[1]
    if not e then
      return nil
    end
    if #e[2][2] < 16 then
      return seqof(e), false, 0
    end
    local time, before = struct.unpack('>I8I8', e[2][2])
    return seqof(e), time > oldest and before >= floor, before
  end
  local goes, stays, before = look('-')
  if not goes or goes > last then
    return nil
  end
  if stays then
    return before, goes
  end
  local first = last + 1
  while first - goes > 1 do
    local mid = math.floor((goes + first) / 2)
    local seq, ok = look(digits(mid) .. '-0')
    if not seq or ok or seq >= first then
      first = mid
    else
      goes = seq
    end
  end
  redis.call('XTRIM', stream, 'MINID', digits(first) .. '-0')
  goes, stays, before = look('-')
  if goes and goes <= last then
    return before, goes
  end
  return nil
end

-- settle holds the log against its bounds exactly, and returns the seq of the oldest
-- entry kept, or nil.
local function settle(stream, seq, now, total, messages, bytes, age)
  local kind = redis.call('TYPE', stream).ok
  if kind ~= 'stream' or messages == 0 then
    if kind ~= 'none' then
      redis.call('DEL', stream)
    end
    return nil
  end
  redis.call('XTRIM', stream, 'MAXLEN', '=', messages)
  local _, first = trim(stream, seq, age > 0 and now - age or -1, bytes > 0 and total - bytes or 0)
  return first
end

-- tell says to all gateways that a log begins anew behind a position.
local function tell(publish, channel, before, epoch)
  redis.call(publish, channel, struct.pack('>BI8B', 82, before, #epoch) .. epoch)
end

-- renew goes on in another epoch with what the log keeps, and returns the position
-- before it. The state is written first, for that is what a full memory refuses.
local function renew(key, stream, seq, time, total, look, full, stamp, epoch, messages, bytes, age)
  write(key, seq, time, total, look, full, stamp, epoch)
  local first = settle(stream, seq, clock(), total, tonumber(messages), tonumber(bytes), tonumber(age))
  return first and first - 1 or seq
end
