-- KEYS: dead letters, their jobs, their reasons
-- ARGV: first and last to list, newest first
-- Returns {id, when (ms), reason, job} of each.
local found = call("ZRANGE", KEYS[1], ARGV[1], ARGV[2], "REV", "WITHSCORES")
local letters = {}
for i = 1, #found, 2 do
  local id = found[i]
  local job, reason = call("HGET", KEYS[2], id), call("HGET", KEYS[3], id)
  letters[#letters + 1] = { id, found[i + 1], reason or "", job or "" }
end
return letters
