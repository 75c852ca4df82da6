-- KEYS: stream, later, scheduled, retry, paused, cancelled, dead
-- ARGV: group, consumer, parked, prefix of locks, their lifetime (ms), most tasks forwarded of each sort,
-- most dead letters
-- Puts on the stream what has become due, and shows the consumer to be there. Returns how many were moved, whether there
-- is something to look for (the queue is paused, or entries are parked), the entries whose cancellation is asked for, and
-- how many of those moved became dead letters, because their fields are not what we write.
local now
local dead = 0

-- The fields of a task that waits, or why there are none. (More than Lua passes at once would be a refusal for ever.)
local function read(fields)
  if not fields then return nil, "the fields of the task are missing" end
  local ok, list = pcall(cjson.decode, fields)
  if not ok or type(list) ~= "table" then return nil, "the fields of the task are not JSON" end
  local sound = #list > 0 and #list % 2 == 0 and #list <= 4000
  for _, word in ipairs(list) do sound = sound and type(word) == "string" end
  if not sound then return nil, "the fields of the task are not a list of names and values" end
  return list
end

local function bury(name, fields, why)
  local letter = { "stream", KEYS[1], "group", ARGV[1], "id", "0-0", "deliveries", 0, "reason", why, "task", name }
  if fields then letter[#letter + 1], letter[#letter + 2] = "payload:task", fields end
  local out = redis.pcall("XADD", KEYS[7], "MAXLEN", "~", ARGV[7], "*", unpack(letter))
  if type(out) == "table" then return false end
  dead = dead + 1
  return true
end

local function forward(from)
  local due = redis.call("ZRANGEBYSCORE", from, "-inf", now, "LIMIT", 0, ARGV[6])
  local moved = 0
  for _, name in ipairs(due) do
    local fields = redis.call("HGET", KEYS[2], name)
    local list, why = read(fields)
    local gone = true
    if list then
      local entry = redis.pcall("XADD", KEYS[1], "*", unpack(list))
      -- Memory is full, say: the rest waits, and whoever called goes on.
      if type(entry) == "table" then return 0 end
      redis.call("SET", ARGV[4] .. name, entry, "PX", ARGV[5])
    else
      -- One that cannot be buried now waits, and holds up no other.
      gone = bury(name, fields, why)
    end
    if gone then
      redis.call("HDEL", KEYS[2], name)
      redis.call("ZREM", from, name)
      moved = moved + 1
    end
  end
  return moved
end
local due, cancelled = 0, {}
if redis.call("EXISTS", KEYS[3], KEYS[4], KEYS[6]) > 0 then
  now = now_ms()
  due = forward(KEYS[3]) + forward(KEYS[4])
  cancelled = redis.call("ZRANGE", KEYS[6], 0, -1)
end
-- Finds nothing; that it was asked is what counts. (One more would mean new entries.)
redis.pcall("XREADGROUP", "GROUP", ARGV[1], ARGV[2], "STREAMS", KEYS[1], "18446744073709551615-18446744073709551614")
local parked = pending(KEYS[1], ARGV[1], "-", "+", 1, ARGV[3])
local look = parked[1] or redis.call("EXISTS", KEYS[5]) == 1
return { due, look and 1 or 0, cancelled, dead }
