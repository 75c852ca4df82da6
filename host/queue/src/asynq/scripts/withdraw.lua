-- KEYS: task, pending, scheduled, retry
-- ARGV: id, prefix of groups
-- Returns 1 when the task waited and is gone, 2 when it is in work, 0 when there is no such task.
local held = redis.call("HMGET", KEYS[1], "state", "group", "unique_key")
local state = held[1]
if state == "active" then return 2 end
if state == "pending" then
  redis.call("LREM", KEYS[2], 0, ARGV[1])
elseif state == "scheduled" then
  redis.call("ZREM", KEYS[3], ARGV[1])
elseif state == "retry" then
  redis.call("ZREM", KEYS[4], ARGV[1])
elseif state == "aggregating" then
  redis.call("ZREM", ARGV[2] .. (held[2] or ""), ARGV[1])
else
  return 0
end
unlock(held[3], ARGV[1])
redis.call("DEL", KEYS[1])
return 1
