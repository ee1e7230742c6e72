-- What the scripts about people share. What a gateway says of its users, its
-- connections and its names, it says as a holder: its id, a slash, and a number that
-- rises when it has to begin anew. All of a holder's stands under its lease. Of each
-- holder a record is kept, "ORDER MARK": the number of the newest call that was to
-- come after those before it, and the largest number of any call.

local people = 86400000 -- ms that what is not extended lives

-- own lets go of a key that another wrote to.
local function own(key, kind)
  local is = redis.call('TYPE', key).ok
  if is ~= kind and is ~= 'none' then
    redis.call('DEL', key)
  end
end

local function extend(...)
  for _, key in ipairs({...}) do
    redis.call('PEXPIRE', key, people)
  end
end

-- whole reads a number of connections; what is none is 0.
local function whole(v)
  local n = v and tonumber(v) or 0
  return n >= 1 and n <= 2147483647 and math.floor(n) or 0
end

local function record(records, holder)
  local v = redis.call('HGET', records, holder)
  local order, mark = string.match(v or '', '^(%d+) (%d+)$')
  return tonumber(order), tonumber(mark)
end

-- lapsed says whether a holder's lease has run out and what it said is still there.
local function lapsed(leases, holder)
  local ends = tonumber(redis.call('ZSCORE', leases, holder))
  return ends and ends <= clock()
end

-- alive notes that a gateway has been here. Where none was for long it was Redis
-- that was away, or the way to it: leases that were good until then do not run out
-- before their gateways had time to come back.
local function alive(leases, records, now)
  local was = tonumber(redis.call('HGET', records, '@')) or now
  if now - was > 5000 then
    local held = redis.call('ZRANGEBYSCORE', leases, '(' .. digits(was), digits(now + 3000), 'LIMIT', 0, 1000)
    for _, holder in ipairs(held) do
      redis.call('ZADD', leases, digits(now + 3000), holder)
    end
  end
  redis.call('HSET', records, '@', digits(now))
end

-- enter takes a call of a holder, or returns false: what it said before is lost,
-- or it is a call that comes after a later one. say: holder, the number up to which
-- its calls are known to be done, this one's, ms of its lease.
local function enter(leases, records, say, ordered)
  own(leases, 'zset')
  own(records, 'hash')
  local holder, done, number = say[1], tonumber(say[2]), tonumber(say[3])
  local order, mark = record(records, holder)
  local held = redis.call('ZSCORE', leases, holder)
  if done > 0 and not (held and mark and mark >= done) or ordered and number <= (order or 0) then
    return false
  end
  redis.call('HSET', records, holder,
    digits(ordered and number or order or 0) .. ' ' .. digits(math.max(mark or 0, number)))
  if not held then
    redis.call('ZADD', leases, digits(clock() + tonumber(say[4])), holder)
    extend(leases, records)
  end
  return true
end

-- event writes a lifecycle event, of words by pairs. most: events kept; 0: none.
local function event(stream, most, ...)
  if most == '0' then
    return
  end
  local done = redis.pcall('XADD', stream, 'MAXLEN', '~', most, '*', ...)
  if type(done) == 'table' and done.err then
    redis.call('DEL', stream) -- another wrote to our stream
    redis.call('XADD', stream, '*', ...)
  end
end

-- A change of a room's users: crowd begins it, move tells of a user's connections,
-- and finish tells all of it. keys: rooms that have users, events, the holder's
-- rooms, and of the room: users in order, users to connections, those of the holder.
local function crowd(keys)
  own(keys[1], 'zset')
  own(keys[2], 'stream')
  own(keys[3], 'set')
  own(keys[4], 'zset')
  own(keys[5], 'hash')
  own(keys[6], 'hash')
  return {keys = keys, before = redis.call('ZCARD', keys[4]), joined = {}, left = {}}
end

-- move changes a user's connections in all by so many; least: as many as there are
-- at least.
local function move(c, user, by, least)
  local online, totals = c.keys[4], c.keys[5]
  local had = whole(redis.call('HGET', totals, user))
  local has = math.max(had + by, least)
  if has > 0 then
    if has ~= had then
      redis.call('HSET', totals, user, digits(has))
    end
    if redis.call('ZADD', online, 0, user) == 1 then
      c.joined[#c.joined + 1] = user
    end
    return
  end
  redis.call('HDEL', totals, user)
  if redis.call('ZREM', online, user) == 1 then
    c.left[#c.left + 1] = user
  end
end

-- about: gateway, room, channel, PUBLISH or SPUBLISH, events kept.
local function finish(c, about)
  local gateway, room, channel, publish, most = unpack(about)
  local keys, after = c.keys, redis.call('ZCARD', c.keys[4])
  if redis.call('EXISTS', keys[6]) == 1 then
    redis.call('SADD', keys[3], room)
  else
    redis.call('SREM', keys[3], room)
  end
  if after > 0 then
    redis.call('ZADD', keys[1], 0, room)
  else
    redis.call('ZREM', keys[1], room)
  end
  extend(unpack(keys))
  if #c.joined + #c.left == 0 then
    return
  end
  local payload = {struct.pack('>BI8HH', 80, after, #c.joined, #c.left)}
  for _, users in ipairs({c.joined, c.left}) do
    for _, user in ipairs(users) do
      payload[#payload + 1] = struct.pack('>Hc0', #user, user)
    end
  end
  redis.call(publish, channel, table.concat(payload))
  local stream = keys[2]
  if c.before == 0 and after > 0 then
    event(stream, most, 'type', 'room_occupied', 'gateway', gateway, 'room', room)
  end
  for _, user in ipairs(c.joined) do
    event(stream, most, 'type', 'joined', 'gateway', gateway, 'room', room, 'user', user)
  end
  for _, user in ipairs(c.left) do
    event(stream, most, 'type', 'left', 'gateway', gateway, 'room', room, 'user', user)
  end
  if c.before > 0 and after == 0 then
    event(stream, most, 'type', 'room_vacated', 'gateway', gateway, 'room', room)
  end
end

-- The value of a name: when it is free (0: it is held), and its holder, connection
-- and key. nil where there is none or it is not ours.
local function named(names, name)
  local v = redis.call('HGET', names, name)
  if not v then
    return nil
  end
  local ok, free, holder, connection, rest = pcall(struct.unpack, '>I8Hc0Hc0', v)
  if not ok then
    return nil
  end
  return free, holder, connection, string.sub(v, rest)
end

local function name(names, name, free, holder, connection, key)
  redis.call('HSET', names, name,
    struct.pack('>I8Hc0Hc0', free, #holder, holder, #connection, connection) .. key)
end
