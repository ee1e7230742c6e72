-- Publishes messages to a room, in their order: de-duplication, numbers, store,
-- (S)PUBLISH. What it costs to run a script and to look at the room's state is paid
-- once for all of them.
-- KEYS: the room's state, its stream, with a token what the term is open by, and where
--   they have IDs the key of each one's.
-- ARGV: 1 messages, 2 bytes, 3 age in ms that the room keeps; 4 ms that its state lives;
--   5 ms that an ID counts; 6 channel; 7 PUBLISH or SPUBLISH; 8 epoch and 9 seq that
--   the log is known to have reached. One that has not was rewound: it goes on in a
--   new epoch, of which all are told before the message; 10, where sentinels name the
--   master, the token of its term, else ""; 11, where the first message is traced, the
--   trace and the span that it belongs to, else "". Then of each message: its stamp, also
--   the name of an epoch that begins with it; its body; bytes of its data.
-- Returns for each "EPOCH SEQ", behind "=" where the ID was stored before, or an error.
local key, stream = KEYS[1], KEYS[2]
local messages, life, window, channel, publish = ARGV[1], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local shared, ids, token, trace = 11, 2, ARGV[10], ARGV[11]
local prefix = '' -- of the names of epochs that begin
if token ~= '' then
  ids = 3
  local by = redis.pcall('GET', KEYS[3])
  if by == token .. '!' then
    -- It was opened without all gateways: nobody knows what is missing in the logs
    -- of before it.
    prefix = token .. '_'
  elseif by ~= token then
    return redis.error_reply('UNSETTLED the term has not begun')
  end
end
local now = clock()
local seq, time, before, look, full, last, epoch = read(key)
local rewound = epoch == ARGV[8] and seq < tonumber(ARGV[9])
    or epoch and string.sub(epoch, 1, #prefix) ~= prefix
local told, answers, stamp = {}, {}, nil

-- known looks whether an ID was stored before, and notes it. It comes first, since what
-- is not stored for want of memory must leave nothing behind, and a script fails so
-- with its first write. It returns the answer if there is nothing to be stored.
local function known(id, mark)
  local was = redis.pcall('SET', id, mark, 'NX', 'GET', 'PX', window)
  if type(was) == 'table' and string.find(was.err, 'WRONGTYPE', 1, true)
      or type(was) == 'string' and not string.find(was, '^[%w_-]+ %d+$') then
    redis.call('SET', id, mark, 'PX', window) -- another wrote to our key
  elseif type(was) == 'table' then
    return was
  elseif was then
    return '=' .. was
  end
end

-- store puts a message behind the newest, and returns an error where that failed.
local function store(own, body, size, id, trims)
  if not seq then
    seq, time, before, look, full, last, epoch = begin(key, stream, prefix .. own, life)
  elseif rewound then
    epoch, rewound = prefix .. own, false
    tell(publish, channel, renew(key, stream, seq, time, before, look, full, last, epoch, messages, ARGV[2], ARGV[3]), epoch)
  end
  if now < time then
    now = time -- the clock was put back: time does not, within a room
  end
  local entry = struct.pack('>I8I8', now, before) .. body
  if messages ~= '0' then
    local done
    local number = digits(seq + 1) .. '-0'
    if trims then
      -- '~' leaves a node of the stream more than asked for; what is read is exact.
      done = redis.pcall('XADD', stream, 'MAXLEN', '~', messages, number, 'm', entry)
    else
      done = redis.pcall('XADD', stream, number, 'm', entry)
    end
    if type(done) == 'table' then
      if not (string.find(done.err, 'WRONGTYPE', 1, true) or string.find(done.err, 'equal or smaller', 1, true)
          or string.find(done.err, 'exhausted', 1, true)) then
        return done
      end
      -- Another wrote to our stream: the log begins anew.
      local fresh = prefix .. own
      seq, time, before, look, full, last, epoch = begin(key, stream, epoch == fresh and fresh .. '_' or fresh, life)
      entry = struct.pack('>I8I8', now, 0) .. body
      redis.call('XADD', stream, '1-0', 'm', entry)
      if id then
        redis.call('SET', id, epoch .. ' 1', 'PX', window)
      end
    end
  end
  seq, time, before, stamp = seq + 1, now, before + size, own
  if trace ~= '' then
    told[1] = struct.pack('>BI8', 84, seq) .. trace
  end
  told[#told + 1] = struct.pack('>BI8B', 77, seq, #epoch) .. epoch .. entry
end

for at = shared + 1, #ARGV, 3 do
  local i = (at - shared + 2) / 3
  local own, id = ARGV[at], KEYS[ids + i]
  local answer = id and known(id, (seq and not rewound and epoch or prefix .. own) .. ' ' .. digits((seq or 0) + 1))
    or store(own, ARGV[at + 1], ARGV[at + 2], id, at + 3 > #ARGV)
  answers[i] = answer or epoch .. ' ' .. digits(seq)
  trace = ''
end
if not stamp then
  return answers
end

if now >= look or before > full then
  -- Bounds of bytes and age are exact when read. Here they bound memory, to a quarter
  -- and a sixteenth more, so that few messages pay for looking.
  local bytes, age = tonumber(ARGV[2]), tonumber(ARGV[3])
  life = tonumber(life)
  local stay = age > 0 and math.min(age, life) or life
  full = most
  if messages ~= '0' then
    local kept = trim(stream, seq, age > 0 and now - age or -1, bytes > 0 and before - bytes or 0) or before
    redis.call('PEXPIRE', stream, digits(stay * 1.0625 + 1000))
    full = bytes > 0 and kept + math.floor(bytes * 1.25) or most
  end
  redis.call('PEXPIRE', key, digits(life * 1.0625))
  look = now + math.floor(stay / 16)
end

write(key, seq, now, before, look, full, stamp, epoch)
for i = 1, #told do
  redis.call(publish, channel, told[i])
end
return answers
