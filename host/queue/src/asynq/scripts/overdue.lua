-- KEYS: lease
-- ARGV: prefix of task keys, latest end of interest (s), how many
-- Returns {id, lease's end, owner or ""} of the leases that end soonest.
local due = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[2], "WITHSCORES", "LIMIT", 0, ARGV[3])
local found = {}
for i = 1, #due, 2 do
  found[#found + 1] = { due[i], due[i + 1], redis.call("HGET", ARGV[1] .. due[i], "lapwing_owner") or "" }
end
return found
