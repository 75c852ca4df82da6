-- KEYS: stream
-- ARGV: group, consumer, parked, 1 to say goodbye, then the ids of entries still in work
-- Parks what was handed to the consumer and is not in work, then removes the consumer if it owns nothing: with entries
-- of its own, they would be lost.
local held, from, left = {}, "-", 0
for i = 5, #ARGV do held[ARGV[i]] = true end
repeat
  local page = redis.call("XPENDING", KEYS[1], ARGV[1], from, "+", 1000, ARGV[2])
  for _, entry in ipairs(page) do
    from = "(" .. entry[1]
    if held[entry[1]] then
      left = left + 1
    else
      redis.call("XCLAIM", KEYS[1], ARGV[1], ARGV[3], 0, entry[1], "RETRYCOUNT", entry[4] - 1, "JUSTID")
    end
  end
until #page < 1000
if ARGV[4] == "1" and left == 0 then redis.call("XGROUP", "DELCONSUMER", KEYS[1], ARGV[1], ARGV[2]) end
return left
