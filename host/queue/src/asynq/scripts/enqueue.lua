-- KEYS: task, pending, unique, active, lease, archived, completed
-- ARGV: id, message, now (ns), lock's time to live (s), "1" to replace a task that stands in the way but will not run
-- Returns 1 when added, 0 when the id is taken, -1 when the lock is.
--
-- Asynq takes the lock before it looks at the id, and leaves it behind on a conflict. Replacing is what keeps a
-- monitor from going silent after a stock worker archived its task.
local function in_the_way()
  local state = redis.call("HGET", KEYS[1], "state")
  if state == "archived" then
    redis.call("ZREM", KEYS[6], ARGV[1])
  elseif state == "completed" then
    redis.call("ZREM", KEYS[7], ARGV[1])
  elseif state == "active" then
    -- In work by nobody: a half-done settlement.
    if redis.call("ZSCORE", KEYS[5], ARGV[1]) or redis.call("LPOS", KEYS[4], ARGV[1]) then return true end
  else
    return true
  end
  unlock(redis.call("HGET", KEYS[1], "unique_key"), ARGV[1])
  redis.call("DEL", KEYS[1])
  return false
end

if redis.call("EXISTS", KEYS[1]) == 1 and (ARGV[5] ~= "1" or in_the_way()) then return 0 end
if not redis.call("SET", KEYS[3], ARGV[1], "NX", "EX", ARGV[4]) then
  -- A lock of ours without its task is left over.
  if redis.call("GET", KEYS[3]) ~= ARGV[1] then return -1 end
  redis.call("EXPIRE", KEYS[3], ARGV[4])
end
redis.call("HSET", KEYS[1], "msg", ARGV[2], "state", "pending", "pending_since", ARGV[3], "unique_key", KEYS[3])
redis.call("LPUSH", KEYS[2], ARGV[1])
return 1
