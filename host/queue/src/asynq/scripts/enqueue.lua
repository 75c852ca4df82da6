-- KEYS: pending, scheduled, active, lease, archived, completed
-- ARGV: prefix of task keys, now (ns), channel for word of it, the queue's name, then of each task: id, message,
--   due (s; empty for now), lock, lock's time to live (s), "1" to replace a task that stands in the way but will not run
-- Returns for each task 1 when added, 0 when the id is taken, -1 when the lock is.
--
-- Asynq takes the lock before it looks at the id, and leaves it behind on a conflict. Replacing is what keeps a
-- monitor from going silent after a stock worker archived its task.
local function in_the_way(task, id)
  local state = redis.pcall("HGET", task, "state")
  if state == "archived" then
    redis.call("ZREM", KEYS[5], id)
  elseif state == "completed" then
    redis.call("ZREM", KEYS[6], id)
  elseif state == "active" then
    -- In work by nobody: a half-done settlement.
    if redis.call("ZSCORE", KEYS[4], id) or redis.call("LPOS", KEYS[3], id) then return true end
  else
    return true
  end
  unlock(redis.call("HGET", task, "unique_key"), id)
  redis.call("DEL", task)
  return false
end

-- Whether any of the tasks may be there already: mostly none is, and one question for all tells so.
local tasks, among = {}, {}
for i = 5, #ARGV, 6 do
  tasks[#tasks + 1] = ARGV[1] .. ARGV[i]
end
local some = redis.call("EXISTS", unpack(tasks)) > 0

local answers, due = {}, {}
for i = 5, #ARGV, 6 do
  local id, lock, answer = ARGV[i], ARGV[i + 3], 1
  local task = ARGV[1] .. id
  if (some or among[task]) and redis.call("EXISTS", task) == 1 and (ARGV[i + 5] ~= "1" or in_the_way(task, id)) then
    answer = 0
  elseif not redis.call("SET", lock, id, "NX", "EX", ARGV[i + 4]) then
    if redis.pcall("GET", lock) == id then
      -- A lock of ours without its task is left over.
      redis.call("EXPIRE", lock, ARGV[i + 4])
    else
      answer = -1
    end
  end
  if answer == 1 and ARGV[i + 2] == "" then
    redis.call("HSET", task, "msg", ARGV[i + 1], "state", "pending", "pending_since", ARGV[2], "unique_key", lock)
    due[#due + 1] = id
  elseif answer == 1 then
    redis.call("HSET", task, "msg", ARGV[i + 1], "state", "scheduled", "unique_key", lock)
    redis.call("ZADD", KEYS[2], ARGV[i + 2], id)
  end
  among[task] = true
  answers[#answers + 1] = answer
end
if #due > 0 then
  -- Idle workers poll; those of ours need not. Where the channel is denied, they poll all the same.
  if redis.call("LPUSH", KEYS[1], unpack(due)) == #due then redis.pcall("PUBLISH", ARGV[3], ARGV[4]) end
end
return answers
