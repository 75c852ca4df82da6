-- KEYS: active, lease, pending, completed, retry, archived, processed and failed of the day, processed and failed in total
-- ARGV: prefix of task keys, counters' expiry (s), start of the archive (s), then of each task: way, id, owner, score,
--   message, lock, result (the last four empty where the way has none)
-- Returns for each task 1, or 0 when it is no longer held under this reservation.
--
-- The ways are `done` and the states that a task can go to from work. All tasks are looked at before the first one is
-- moved, so that one that cannot be read leaves none half moved.
local answers, ours = {}, {}
for i = 4, #ARGV, 7 do
  local held = redis.pcall("HMGET", ARGV[1] .. ARGV[i + 1], "lapwing_owner", "state")
  local held_here = held[1] == ARGV[i + 2] and held[2] == "active"
  answers[#answers + 1] = held_here and 1 or 0
  if held_here then ours[#ours + 1] = i end
end
if #ours == 0 then return answers end

local places = { completed = KEYS[4], retry = KEYS[5], archived = KEYS[6] }
local ids, gone, back, processed, failed = {}, {}, {}, 0, 0
for _, i in ipairs(ours) do
  local way, id = ARGV[i], ARGV[i + 1]
  local task = ARGV[1] .. id
  ids[#ids + 1] = id
  -- The oldest are at the tail, and are mostly done first.
  redis.call("LREM", KEYS[1], -1, id)
  if way == "done" then
    gone[#gone + 1] = task
  elseif way == "pending" then
    back[#back + 1] = id
  else
    redis.call("ZADD", places[way], ARGV[i + 3], id)
    redis.call("HSET", task, "msg", ARGV[i + 4])
  end
  if way ~= "done" then
    redis.call("HSET", task, "state", way)
    redis.call("HDEL", task, "lapwing_owner")
  end
  if way ~= "pending" then processed = processed + 1 end
  if way == "retry" or way == "archived" then failed = failed + 1 end
  if ARGV[i + 6] ~= "" then redis.call("HSET", task, "result", ARGV[i + 6]) end
  unlock(ARGV[i + 5], id)
end
redis.call("ZREM", KEYS[2], unpack(ids))
if #gone > 0 then redis.call("DEL", unpack(gone)) end
if #back > 0 then redis.call("RPUSH", KEYS[3], unpack(back)) end
count(KEYS[7], KEYS[9], processed, ARGV[2])
count(KEYS[8], KEYS[10], failed, ARGV[2])

-- Asynq trims the archive in one call, and fails halfway from 8,000 entries on; this trims in bounded chunks and
-- leaves the rest to the next call. At most 9,999 remain, as in Asynq.
local function drop(ids)
  if #ids == 0 then return end
  local tasks = {}
  for i, id in ipairs(ids) do tasks[i] = ARGV[1] .. id end
  redis.call("DEL", unpack(tasks))
  redis.call("ZREM", KEYS[6], unpack(ids))
end

if failed > 0 then
  for _ = 1, 5 do
    local old = redis.call("ZRANGEBYSCORE", KEYS[6], "-inf", ARGV[3], "LIMIT", 0, 1000)
    drop(old)
    if #old < 1000 then break end
  end
  for _ = 1, 5 do
    local surplus = redis.call("ZCARD", KEYS[6]) - 9999
    if surplus <= 0 then break end
    drop(redis.call("ZRANGE", KEYS[6], 0, math.min(surplus, 1000) - 1))
  end
end
return answers
