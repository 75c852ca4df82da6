-- KEYS: task, active, lease, completed, processed of the day, processed in total
-- ARGV: id, owner, unique lock (or empty), counters' expiry (s), retention's end (s) and message (both empty for none)
-- Returns 1, or 0 when the task is no longer held under this reservation.
if not take(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then return 0 end
if ARGV[5] == "" then
  redis.call("DEL", KEYS[1])
else
  redis.call("ZADD", KEYS[4], ARGV[5], ARGV[1])
  redis.call("HSET", KEYS[1], "msg", ARGV[6], "state", "completed")
  redis.call("HDEL", KEYS[1], "lapwing_owner")
end
count(KEYS[5], KEYS[6], ARGV[4])
unlock(ARGV[3], ARGV[1])
return 1
