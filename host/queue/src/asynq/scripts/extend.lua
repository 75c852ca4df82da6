-- KEYS: lease
-- ARGV: prefix of task keys, leases' end, then id and owner of each task held
-- Returns the ids of those that are no longer held.
--
-- Asynq only renews entries that are there; a lease that vanished from a task still held is written anew.
local lost = {}
for i = 3, #ARGV, 2 do
  local held = redis.pcall("HMGET", ARGV[1] .. ARGV[i], "lapwing_owner", "state")
  if held[1] == ARGV[i + 1] and held[2] == "active" then
    redis.call("ZADD", KEYS[1], ARGV[2], ARGV[i])
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
