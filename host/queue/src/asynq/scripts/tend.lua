-- KEYS: pending, active, lease, scheduled, retry, completed
-- ARGV: prefix of task keys, prefix of groups, now (s), now (ns), latest lease's end of interest (s), how many of each
-- Returns how many tasks were moved to pending because they were due, how many completed ones were deleted, how many
-- in work without a lease were put back, when the next one is due (empty for never), and {id, lease's end, owner or ""}
-- of the leases that end soonest.
local now, most = ARGV[3], tonumber(ARGV[6])

-- Asynq's forwarder. A task of a group goes to its group; one without a message is dropped.
local function forward(from)
  local due = redis.call("ZRANGEBYSCORE", from, "-inf", now, "LIMIT", 0, most)
  local ids = {}
  for _, id in ipairs(due) do
    local task = ARGV[1] .. id
    local held = redis.pcall("HMGET", task, "msg", "state", "group")
    if not held[1] then
      if not held.err then redis.call("DEL", task) end
    elseif held[3] and held[3] ~= "" then
      redis.call("ZADD", ARGV[2] .. held[3], now, id)
      redis.call("HSET", task, "state", "aggregating")
    elseif held[2] ~= "active" then
      redis.call("HSET", task, "state", "pending", "pending_since", ARGV[4])
      ids[#ids + 1] = id
    end
  end
  each("LPUSH", KEYS[1], ids)
  each("ZREM", from, due)
  return #due
end

-- Asynq's janitor.
local function clean()
  local past = redis.call("ZRANGEBYSCORE", KEYS[6], "-inf", now, "LIMIT", 0, most)
  for _, id in ipairs(past) do
    local task = ARGV[1] .. id
    if redis.pcall("HGET", task, "state") == "completed" then redis.call("DEL", task) end
  end
  each("ZREM", KEYS[6], past)
  return #past
end

-- Every worker takes a task and its lease in one step, so one in work without a lease is nobody's.
local function adopt()
  if redis.call("LLEN", KEYS[2]) <= redis.call("ZCARD", KEYS[3]) then return 0 end
  local restored = 0
  for _, id in ipairs(redis.call("LRANGE", KEYS[2], -10 * most, -1)) do
    if restored >= most then break end
    if not redis.call("ZSCORE", KEYS[3], id) and put_back(ARGV[1] .. id, KEYS[2], KEYS[3], KEYS[1], id) then
      restored = restored + 1
    end
  end
  return restored
end

local forwarded = forward(KEYS[4]) + forward(KEYS[5])
local next_due = ""
for _, from in ipairs({ KEYS[4], KEYS[5] }) do
  local due = redis.call("ZRANGE", from, 0, 0, "WITHSCORES")[2]
  if due and (next_due == "" or tonumber(due) < tonumber(next_due)) then next_due = due end
end
local deleted, restored = clean(), adopt()
local overdue = redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", ARGV[5], "WITHSCORES", "LIMIT", 0, most)
local found = {}
for i = 1, #overdue, 2 do
  local id, owner = overdue[i], redis.pcall("HGET", ARGV[1] .. overdue[i], "lapwing_owner")
  if is_text(id) then
    found[#found + 1] = { id, overdue[i + 1], type(owner) == "string" and owner or "" }
  elseif put_back(ARGV[1] .. id, KEYS[2], KEYS[3], KEYS[1], id) then
    -- Whoever takes it next archives it.
    restored = restored + 1
  end
end
return { forwarded, deleted, restored, next_due, found }
