-- Takes a task out of work, if it is still held under this reservation.
local function take(task, active, lease, id, owner)
  local held = redis.call("HMGET", task, "lapwing_owner", "state")
  if held[1] ~= owner or held[2] ~= "active" then return false end
  redis.call("LREM", active, -1, id)
  redis.call("ZREM", lease, id)
  return true
end

-- Counts one task, for the day and in total; the total starts again at 1 past the largest 64-bit integer.
local function count(day, total, expire_at)
  if redis.call("INCR", day) == 1 then redis.call("EXPIREAT", day, expire_at) end
  if redis.call("GET", total) == "9223372036854775807" then
    redis.call("SET", total, 1)
  else
    redis.call("INCR", total)
  end
end

-- Releases the uniqueness lock, if it is this task's.
local function unlock(unique, id)
  if unique and unique ~= "" and redis.call("GET", unique) == id then redis.call("DEL", unique) end
end

-- Puts a task that nobody works at back to where the next one is taken from; a ghost (a task without a message,
-- left by a worker that popped an id after its hash had gone) is removed.
local function put_back(task, active, lease, pending, id)
  local listed = redis.call("LREM", active, -1, id)
  redis.call("ZREM", lease, id)
  local held = redis.call("HMGET", task, "msg", "state")
  if not held[1] then
    redis.call("DEL", task)
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
