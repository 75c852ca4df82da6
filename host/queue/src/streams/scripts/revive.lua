-- KEYS: stream, dead, scheduled, retry
-- ARGV: id of the dead letter, prefix of locks, their lifetime (ms)
-- Returns 1, or 0 when there is no such letter. Where the monitor has another task by now, the dead one has nothing left
-- to tell and only goes.
local letter = redis.call("XRANGE", KEYS[2], ARGV[1], ARGV[1])[1]
if not letter then return 0 end
local fields, name = {}, ""
for i = 1, #letter[2], 2 do
  local field, value = letter[2][i], letter[2][i + 1]
  if field == "task" then name = value end
  if field:sub(1, 8) == "payload:" then
    fields[#fields + 1] = field:sub(9)
    fields[#fields + 1] = value
  end
end
local lock = ARGV[2] .. name
local held = redis.call("GET", lock)
if #fields > 0 and not (held and alive(KEYS[1], KEYS[3], KEYS[4], name, held)) then
  local entry = redis.call("XADD", KEYS[1], "*", unpack(fields))
  redis.call("SET", lock, entry, "PX", ARGV[3])
end
redis.call("XDEL", KEYS[2], ARGV[1])
return 1
