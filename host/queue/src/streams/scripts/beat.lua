-- KEYS: stream, later, scheduled, retry, paused, cancelled
-- ARGV: group, consumer, parked, prefix of locks, their lifetime (ms), most tasks forwarded of each sort
-- Puts on the stream what has become due, and shows the consumer to be there. Returns how many were due, whether there
-- is something to look for (the queue is paused, or entries are parked), and the entries whose cancellation is asked for.
local now
local function forward(from)
  local due = redis.call("ZRANGEBYSCORE", from, "-inf", now, "LIMIT", 0, ARGV[6])
  for _, name in ipairs(due) do
    local fields = redis.call("HGET", KEYS[2], name)
    if fields then
      local entry = redis.pcall("XADD", KEYS[1], "*", unpack(cjson.decode(fields)))
      -- Memory is full, say: the rest waits, and whoever called goes on.
      if type(entry) == "table" then return 0 end
      redis.call("SET", ARGV[4] .. name, entry, "PX", ARGV[5])
      redis.call("HDEL", KEYS[2], name)
    end
    redis.call("ZREM", from, name)
  end
  return #due
end
local due, cancelled = 0, {}
if redis.call("EXISTS", KEYS[3], KEYS[4], KEYS[6]) > 0 then
  now = now_ms()
  due = forward(KEYS[3]) + forward(KEYS[4])
  cancelled = redis.call("ZRANGE", KEYS[6], 0, -1)
end
-- Finds nothing; that it was asked is what counts. (One more would mean new entries.)
redis.pcall("XREADGROUP", "GROUP", ARGV[1], ARGV[2], "STREAMS", KEYS[1], "18446744073709551615-18446744073709551614")
local parked = pending(KEYS[1], ARGV[1], "-", "+", 1, ARGV[3])
local look = parked[1] or redis.call("EXISTS", KEYS[5]) == 1
return { due, look and 1 or 0, cancelled }
