-- KEYS: active, lease, pending
-- ARGV: prefix of task keys, how many to look at
-- Returns how many tasks in work without a lease were put back. Every worker takes a task and its lease in one
-- step, so such a task is nobody's.
if redis.call("LLEN", KEYS[1]) <= redis.call("ZCARD", KEYS[2]) then return 0 end
local restored = 0
for _, id in ipairs(redis.call("LRANGE", KEYS[1], -tonumber(ARGV[2]), -1)) do
  if not redis.call("ZSCORE", KEYS[2], id) then
    if put_back(ARGV[1] .. id, KEYS[1], KEYS[2], KEYS[3], id) then restored = restored + 1 end
  end
end
return restored
