-- KEYS: task, scheduled, retry
-- ARGV: id
-- Returns {state, message, pending since (ns), due (s), result} with "" for what is not there; nothing for no task.
local held = redis.call("HMGET", KEYS[1], "state", "msg", "pending_since", "result")
if not held[1] or not held[2] then return {} end
local due = redis.call("ZSCORE", KEYS[2], ARGV[1]) or redis.call("ZSCORE", KEYS[3], ARGV[1])
return { held[1], held[2], held[3] or "", due or "", held[4] or "" }
