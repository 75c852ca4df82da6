-- KEYS: stream
-- ARGV: group, consumer, parked, silence (ms)
-- Removes consumers that own nothing and were not heard of for so long. Returns how many.
local removed = 0
for _, consumer in ipairs(redis.call("XINFO", "CONSUMERS", KEYS[1], ARGV[1])) do
  local info = {}
  for i = 1, #consumer, 2 do info[consumer[i]] = consumer[i + 1] end
  local gone = info.pending == 0 and info.idle > tonumber(ARGV[4])
  if gone and info.name ~= ARGV[2] and info.name ~= ARGV[3] then
    redis.call("XGROUP", "DELCONSUMER", KEYS[1], ARGV[1], info.name)
    removed = removed + 1
  end
end
return removed
