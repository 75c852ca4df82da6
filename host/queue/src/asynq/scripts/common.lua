-- Counts tasks, for the day and in total; the total starts again past the largest 64-bit integer.
local function count(day, total, tasks, expire_at)
  if tasks == 0 then return end
  if redis.call("INCRBY", day, tasks) == tasks then redis.call("EXPIREAT", day, expire_at) end
  if type(redis.pcall("INCRBY", total, tasks)) ~= "number" then redis.call("SET", total, tasks) end
end

-- Releases the uniqueness lock, if it is this task's.
local function unlock(unique, id)
  if unique and unique ~= "" and redis.call("GET", unique) == id then redis.call("DEL", unique) end
end

-- Calls a command for a list of any length: Lua passes no more than some 8,000 arguments at once.
local function each(command, key, list)
  for first = 1, #list, 1000 do
    redis.call(command, key, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- Whether an id is UTF-8, as every id of Asynq's is: protobuf has no other strings.
local function is_text(id)
  if not id:find("[\128-\255]") then return true end
  for _, sequence in ipairs({
    "[\194-\223][\128-\191]",
    "\224[\160-\191][\128-\191]",
    "[\225-\236\238\239][\128-\191][\128-\191]",
    "\237[\128-\159][\128-\191]",
    "\240[\144-\191][\128-\191][\128-\191]",
    "[\241-\243][\128-\191][\128-\191][\128-\191]",
    "\244[\128-\143][\128-\191][\128-\191]",
  }) do
    id = id:gsub(sequence, ".")
  end
  return not id:find("[\128-\255]")
end

-- Puts a task that nobody works at back to where the next one is taken from; a ghost (a task without a message,
-- left by a worker that popped an id after its hash had gone) is removed.
local function put_back(task, active, lease, pending, id)
  local listed = redis.call("LREM", active, -1, id)
  redis.call("ZREM", lease, id)
  local held = redis.pcall("HMGET", task, "msg", "state")
  if not held[1] then
    -- A key of another type is none of Asynq's.
    if not held.err then redis.call("DEL", task) end
    return false
  end
  if held[2] == "pending" and listed > 0 then
    -- Perhaps in both lists; it must end up once in one.
    redis.call("LREM", pending, 0, id)
  elseif held[2] ~= "active" then
    return false
  end
  redis.call("HSET", task, "state", "pending")
  redis.call("HDEL", task, "lapwing_owner")
  redis.call("RPUSH", pending, id)
  return true
end
