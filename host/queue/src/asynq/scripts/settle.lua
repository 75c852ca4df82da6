-- KEYS: active, lease, pending, completed, retry, archived, processed and failed of the day, processed and failed in total
-- ARGV: prefix of task keys, counters' expiry (s), start of the archive (s), then of each task: way, id, owner, and more
--   by its way: `done` lock; `pending` nothing; `retry` and `archived` score, message; `completed` lock, score, message,
--   result (empty for none)
-- Returns for each task 1, or 0 when it is no longer held under this reservation.
--
-- The ways are `done` and the states that a task can go to from work. All tasks are looked at before the first one is
-- moved, so that one that cannot be read leaves none half moved. Few calls with many keys are cheaper than many calls.
local spans = { done = 4, pending = 3, retry = 5, archived = 5, completed = 7 }
local places = { retry = KEYS[5], archived = KEYS[6], completed = KEYS[4] }
local answers, ours, ids, locks, owners = {}, {}, {}, {}, {}
local i = 4
while i <= #ARGV do
  local way, id = ARGV[i], ARGV[i + 1]
  local held = redis.pcall("HMGET", ARGV[1] .. id, "lapwing_owner", "state")
  if held[1] == ARGV[i + 2] and held[2] == "active" then
    answers[#answers + 1] = 1
    ours[#ours + 1] = i
    ids[#ids + 1] = id
    if (way == "done" or way == "completed") and ARGV[i + 3] ~= "" then
      locks[#locks + 1] = ARGV[i + 3]
      owners[#owners + 1] = id
    end
  else
    answers[#answers + 1] = 0
  end
  i = i + spans[way]
end
if #ours == 0 then return answers end

-- Takes them off the list of those in work. The oldest are at the tail and are mostly done first: those are cut off there
-- together, the others one by one.
local function unlist()
  local all, tail, left = {}, redis.call("LRANGE", KEYS[1], -#ids, -1), {}
  for _, id in ipairs(ids) do all[id] = true end
  for _, id in ipairs(tail) do
    if all[id] then all[id] = nil else left[#left + 1] = id end
  end
  if #left * 2 < #tail then
    redis.call("LTRIM", KEYS[1], 0, -#tail - 1)
    each("RPUSH", KEYS[1], left)
  else
    for _, id in ipairs(ids) do all[id] = true end
  end
  for id in pairs(all) do redis.call("LREM", KEYS[1], -1, id) end
end

unlist()
local gone, back, failed = {}, {}, 0
if #locks > 0 then
  for i, owner in ipairs(redis.call("MGET", unpack(locks))) do
    if owner == owners[i] then gone[#gone + 1] = locks[i] end
  end
end
for _, i in ipairs(ours) do
  local way, id = ARGV[i], ARGV[i + 1]
  local task = ARGV[1] .. id
  if way == "done" then
    gone[#gone + 1] = task
  elseif way == "pending" then
    redis.call("HSET", task, "state", way)
    back[#back + 1] = id
  else
    local score = way == "completed" and i + 4 or i + 3
    redis.call("ZADD", places[way], ARGV[score], id)
    redis.call("HSET", task, "msg", ARGV[score + 1], "state", way)
    if way ~= "completed" then
      failed = failed + 1
    elseif ARGV[i + 6] ~= "" then
      redis.call("HSET", task, "result", ARGV[i + 6])
    end
  end
  if way ~= "done" then redis.call("HDEL", task, "lapwing_owner") end
end
redis.call("ZREM", KEYS[2], unpack(ids))
if #gone > 0 then redis.call("DEL", unpack(gone)) end
if #back > 0 then redis.call("RPUSH", KEYS[3], unpack(back)) end
count(KEYS[7], KEYS[9], #ours - #back, ARGV[2])
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
