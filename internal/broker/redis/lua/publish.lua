-- Publishes one message: de-duplication, number, store, (S)PUBLISH.
-- KEYS: the room's state, its stream, with ARGV 13 what the term is open by, and
--   with an ID the key of the ID.
-- ARGV: 1 stamp, also the name of an epoch that begins; 2 body; 3 bytes of its data;
--   4 messages, 5 bytes, 6 age in ms that the room keeps; 7 ms that its state lives;
--   8 ms that the ID counts; 9 channel; 10 PUBLISH or SPUBLISH; 11 epoch and 12 seq
--   that the log is known to have reached. One that has not was rewound: it goes on
--   in a new epoch, of which all are told before the message. 13, where sentinels
--   name the master: the token of its term; 14, where the message is traced: the
--   trace and the span that it belongs to, with 13 empty where there is no token.
-- Returns "EPOCH SEQ", behind "=" where the ID was stored before.
local key, stream, id, stamp = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local fresh, unheard = stamp, nil
if ARGV[13] and ARGV[13] ~= '' then
  id = KEYS[4]
  local by = redis.pcall('GET', KEYS[3])
  if by == ARGV[13] .. '!' then
    -- It was opened without all gateways: nobody knows what is missing in the logs
    -- of before it.
    unheard = ARGV[13] .. '_'
    fresh = unheard .. stamp
  elseif by ~= ARGV[13] then
    return redis.error_reply('UNSETTLED the term has not begun')
  end
end
local now = clock()
local seq, time, before, look, full, last, epoch = read(key)
local rewound = epoch == ARGV[11] and seq < tonumber(ARGV[12])
    or unheard and epoch and string.sub(epoch, 1, #unheard) ~= unheard
if id then
  -- First, since what is not stored for want of memory must leave nothing behind,
  -- and a script fails so with its first write.
  local mark = (not rewound and epoch or fresh) .. ' ' .. digits((seq or 0) + 1)
  local was = redis.pcall('SET', id, mark, 'NX', 'GET', 'PX', ARGV[8])
  if type(was) == 'table' and string.find(was.err, 'WRONGTYPE', 1, true)
      or type(was) == 'string' and not string.find(was, '^[%w_-]+ %d+$') then
    redis.call('SET', id, mark, 'PX', ARGV[8]) -- another wrote to our key
  elseif type(was) == 'table' then
    return was
  elseif was then
    return '=' .. was
  end
end
if not seq then
  seq, time, before, look, full, last, epoch = begin(key, stream, fresh, ARGV[7])
elseif rewound then
  epoch = fresh
  tell(ARGV[10], ARGV[9], renew(key, stream, seq, time, before, look, full, last, epoch, ARGV[4], ARGV[5], ARGV[6]), epoch)
end
if now < time then
  now = time -- the clock was put back: time does not, within a room
end
seq = seq + 1
local number = digits(seq)
local entry = struct.pack('>I8I8', now, before) .. ARGV[2]
local after = before + ARGV[3]

if ARGV[4] ~= '0' then
  -- '~' leaves a node of the stream more than asked for; what is read is exact.
  local done = redis.pcall('XADD', stream, 'MAXLEN', '~', ARGV[4], number .. '-0', 'm', entry)
  if type(done) == 'table' then
    if not (string.find(done.err, 'WRONGTYPE', 1, true) or string.find(done.err, 'equal or smaller', 1, true)
        or string.find(done.err, 'exhausted', 1, true)) then
      return done
    end
    -- Another wrote to our stream: the log begins anew.
    seq, time, before, look, full, last, epoch = begin(key, stream, rewound and fresh .. '_' or fresh, ARGV[7])
    seq, number, after = 1, '1', tonumber(ARGV[3])
    entry = struct.pack('>I8I8', now, 0) .. ARGV[2]
    redis.call('XADD', stream, '1-0', 'm', entry)
    if id then
      redis.call('SET', id, epoch .. ' 1', 'PX', ARGV[8])
    end
  end
end

if now >= look or after > full then
  -- Bounds of bytes and age are exact when read. Here they bound memory, to a quarter
  -- and a sixteenth more, so that few messages pay for looking.
  local bytes, age, life = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
  local stay = age > 0 and math.min(age, life) or life
  full = most
  if ARGV[4] ~= '0' then
    local kept = trim(stream, seq, age > 0 and now - age or -1, bytes > 0 and after - bytes or 0) or after
    redis.call('PEXPIRE', stream, digits(stay * 1.0625 + 1000))
    full = bytes > 0 and kept + math.floor(bytes * 1.25) or most
  end
  redis.call('PEXPIRE', key, digits(life * 1.0625))
  look = now + math.floor(stay / 16)
end

write(key, seq, now, after, look, full, stamp, epoch)
if ARGV[14] then
  redis.call(ARGV[10], ARGV[9], struct.pack('>BI8', 84, seq) .. ARGV[14])
end
redis.call(ARGV[10], ARGV[9], struct.pack('>BI8B', 77, seq, #epoch) .. epoch .. entry)
return epoch .. ' ' .. number
