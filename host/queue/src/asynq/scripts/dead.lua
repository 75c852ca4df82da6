-- KEYS: archived
-- ARGV: prefix of task keys, first rank, last rank
-- Returns {id, died at (s), message or ""}, newest first.
local found = {}
local dead = redis.call("ZREVRANGE", KEYS[1], ARGV[2], ARGV[3], "WITHSCORES")
for i = 1, #dead, 2 do
  local message = redis.pcall("HGET", ARGV[1] .. dead[i], "msg")
  found[#found + 1] = { dead[i], dead[i + 1], type(message) == "string" and message or "" }
end
return found
