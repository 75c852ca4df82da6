-- KEYS: stream
-- ARGV: group, consumer, parked, least id, greatest id, then for each entry: id, how often handed out
-- Keeps leases alive. Returns the ids that are no longer ours, and why the others could not
-- be renewed (or nothing): while writes are refused, nobody can take them either.
local is_ours = ownership(KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], (#ARGV - 5) / 2)
local ours, lost = {}, {}
for i = 6, #ARGV, 2 do
  if is_ours(ARGV[i], ARGV[i + 1]) then
    ours[#ours + 1] = ARGV[i]
  else
    lost[#lost + 1] = ARGV[i]
  end
end
local refusal
if #ours > 0 then
  ours[#ours + 1] = "JUSTID"
  refusal = redis.pcall("XCLAIM", KEYS[1], ARGV[1], ARGV[2], 0, unpack(ours)).err
end
return { lost, refusal or "" }
