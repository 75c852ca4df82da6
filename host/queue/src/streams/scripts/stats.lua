-- KEYS: stream, dead, scheduled, retry, paused, processed, failed
-- ARGV: group, parked
-- Returns: entries not handed out, entries handed out, of these parked, scheduled, to be tried again, dead letters,
-- paused, processed, failed, age of the oldest that waits (ms, or -1)
local function fields(list)
  local map = {}
  for i = 1, #list, 2 do map[list[i]] = list[i + 1] end
  return map
end
local length, lag, pending, parked, oldest, last = redis.call("XLEN", KEYS[1]), nil, 0, 0, nil, "-"
local groups = redis.pcall("XINFO", "GROUPS", KEYS[1])
for _, group in ipairs(groups.err and {} or groups) do
  group = fields(group)
  if group.name == ARGV[1] then
    lag, pending, last = group.lag, group.pending, "(" .. group["last-delivered-id"]
    for _, consumer in ipairs(redis.call("XPENDING", KEYS[1], ARGV[1])[4] or {}) do
      if consumer[1] == ARGV[2] then parked = tonumber(consumer[2]) end
    end
    local first = redis.call("XPENDING", KEYS[1], ARGV[1], "-", "+", 1, ARGV[2])[1]
    oldest = first and first[1]
  end
end
-- The server does not know the lag after an entry was deleted unread; done entries are deleted, so the length tells.
if not lag then lag = math.max(length - pending, 0) end
local unread = redis.call("XRANGE", KEYS[1], last, "+", "COUNT", 1)[1]
local function ms(id) return tonumber(id:match("^%d+")) end
if unread and (not oldest or ms(unread[1]) < ms(oldest)) then oldest = unread[1] end
return {
  lag, pending, parked, redis.call("ZCARD", KEYS[3]), redis.call("ZCARD", KEYS[4]), redis.call("XLEN", KEYS[2]),
  redis.call("EXISTS", KEYS[5]), tonumber(redis.call("GET", KEYS[6]) or 0), tonumber(redis.call("GET", KEYS[7]) or 0),
  oldest and math.max(now_ms() - ms(oldest), 0) or -1,
}
