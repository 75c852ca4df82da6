-- KEYS: stream, paused
-- ARGV: group, consumer, parked, room
-- Takes parked entries: given back, or left by a worker that is gone. Returns whether the queue is paused, and the
-- entries: id, how often handed out (this time included), fields.
if redis.call("EXISTS", KEYS[2]) == 1 then return { 1, {} } end
local parked = redis.call("XPENDING", KEYS[1], ARGV[1], "-", "+", ARGV[4], ARGV[3])
local taken = {}
for _, entry in ipairs(parked) do
  -- Of an entry that was deleted nothing comes, and it leaves the list.
  local claimed = redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[2], 0, entry[1])[1]
  if claimed then taken[#taken + 1] = { entry[1], entry[4] + 1, claimed[2] } end
end
return { 0, taken }
