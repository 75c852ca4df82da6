-- KEYS: task, archived, pending
-- ARGV: id, now (ns) to run the task again; empty to delete it
-- Returns 1, or 0 when there is no such dead letter.
if redis.call("ZREM", KEYS[2], ARGV[1]) == 0 then return 0 end
local held = redis.call("HMGET", KEYS[1], "state", "msg", "unique_key")
if held[1] ~= "archived" then return 0 end
if ARGV[2] == "" or not held[2] then
  unlock(held[3], ARGV[1])
  redis.call("DEL", KEYS[1])
  return ARGV[2] == "" and 1 or 0
end
redis.call("HSET", KEYS[1], "state", "pending", "pending_since", ARGV[2])
redis.call("LPUSH", KEYS[3], ARGV[1])
return 1
