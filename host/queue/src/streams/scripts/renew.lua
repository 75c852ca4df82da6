-- KEYS: stream
-- ARGV: group, consumer, parked, then for each entry: id, how often handed out
-- Keeps leases alive. Returns the ids that are no longer ours. Parked ones that nobody has taken since still are.
local ours, lost = {}, {}
for i = 4, #ARGV, 2 do
  local owner, count = holder(KEYS[1], ARGV[1], ARGV[i])
  if (owner == ARGV[2] or owner == ARGV[3]) and count == tonumber(ARGV[i + 1]) then
    ours[#ours + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
if #ours > 0 then
  ours[#ours + 1] = "JUSTID"
  redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[2], 0, unpack(ours))
end
return lost
