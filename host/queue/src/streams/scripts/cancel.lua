-- KEYS: stream, later, scheduled, retry, cancelled, the task's lock
-- ARGV: group, parked, name, how long a request stands (ms), the name as an entry's id (or empty)
-- Returns 1, or 0 when there is no such task.
local where = redis.call("GET", KEYS[6])
if where == "scheduled" or where == "retry" then
  local removed = redis.call("ZREM", KEYS[3], ARGV[3]) + redis.call("ZREM", KEYS[4], ARGV[3])
  redis.call("HDEL", KEYS[2], ARGV[3])
  redis.call("DEL", KEYS[6])
  return removed > 0 and 1 or 0
end
local id = where or ARGV[5]
if id == "" or not redis.call("XRANGE", KEYS[1], id, id)[1] then return 0 end
local owner = holder(KEYS[1], ARGV[1], id)
if owner and owner ~= ARGV[2] then
  redis.call("ZADD", KEYS[5], now_ms(), id)
  redis.call("ZREMRANGEBYSCORE", KEYS[5], "-inf", now_ms() - ARGV[4])
  redis.call("PEXPIRE", KEYS[5], ARGV[4])
  return 1
end
if owner then redis.call("XACK", KEYS[1], ARGV[1], id) end
redis.call("XDEL", KEYS[1], id)
if where then redis.call("DEL", KEYS[6]) end
return 1
