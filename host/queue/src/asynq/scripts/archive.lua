-- KEYS: task, active, lease, archived, processed of the day, failed of the day, processed in total, failed in total
-- ARGV: id, owner, now (s), message, counters' expiry (s), start of the archive (s), prefix of task keys
-- Returns 1, or 0 when the task is no longer held under this reservation.
--
-- Asynq trims everything in one call, and fails halfway from 8,000 entries on; this trims in bounded chunks and leaves
-- the rest to the next call.
local function drop(ids)
  if #ids == 0 then return end
  local tasks = {}
  for i, id in ipairs(ids) do tasks[i] = ARGV[7] .. id end
  redis.call("DEL", unpack(tasks))
  redis.call("ZREM", KEYS[4], unpack(ids))
end

if not take(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]) then return 0 end
redis.call("ZADD", KEYS[4], ARGV[3], ARGV[1])
for _ = 1, 5 do
  local old = redis.call("ZRANGEBYSCORE", KEYS[4], "-inf", ARGV[6], "LIMIT", 0, 1000)
  drop(old)
  if #old < 1000 then break end
end
for _ = 1, 5 do
  -- At most 9,999 remain, as in Asynq.
  local surplus = redis.call("ZCARD", KEYS[4]) - 9999
  if surplus <= 0 then break end
  drop(redis.call("ZRANGE", KEYS[4], 0, math.min(surplus, 1000) - 1))
end
redis.call("HSET", KEYS[1], "msg", ARGV[4], "state", "archived")
redis.call("HDEL", KEYS[1], "lapwing_owner")
count(KEYS[5], KEYS[7], ARGV[5])
count(KEYS[6], KEYS[8], ARGV[5])
return 1
