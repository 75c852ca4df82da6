-- KEYS: stream
-- ARGV: group, parked, idle limit (ms), where to go on, how many
-- Parks entries whose worker does not keep them. Returns where to go on and how many were found.
local function parked()
  for _, consumer in ipairs(redis.call("XPENDING", KEYS[1], ARGV[1])[4] or {}) do
    if consumer[1] == ARGV[2] then return tonumber(consumer[2]) end
  end
  return 0
end
local before = parked()
local claimed = redis.call("XAUTOCLAIM", KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], "COUNT", ARGV[5], "JUSTID")
return { claimed[1], parked() - before }
