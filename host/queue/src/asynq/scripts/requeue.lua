-- KEYS: task, active, lease, pending
-- ARGV: id, owner
-- Returns 1, or 0 when the task is no longer held under this reservation.
if not take(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then return 0 end
redis.call("RPUSH", KEYS[4], ARGV[1])
redis.call("HSET", KEYS[1], "state", "pending")
redis.call("HDEL", KEYS[1], "lapwing_owner")
return 1
