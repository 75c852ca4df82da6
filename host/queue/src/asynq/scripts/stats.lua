-- KEYS: pending, active, scheduled, retry, archived, completed, processed, failed, paused
-- ARGV: prefix of task keys
-- Returns the sizes of the first six, both counters, since when the oldest task is pending (ns; empty when unknown), and
-- whether the queue is paused.
local oldest = redis.call("LINDEX", KEYS[1], -1)
local since = oldest and redis.pcall("HGET", ARGV[1] .. oldest, "pending_since")
local function size(command, i) return redis.call(command, KEYS[i]) end
local function number(i) return tonumber(redis.call("GET", KEYS[i]) or 0) end
return {
  {
    size("LLEN", 1), size("LLEN", 2), size("ZCARD", 3), size("ZCARD", 4), size("ZCARD", 5), size("ZCARD", 6),
    number(7), number(8),
  },
  type(since) == "string" and since or "",
  redis.call("EXISTS", KEYS[9]),
}
