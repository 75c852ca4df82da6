-- KEYS: stream, later, scheduled, retry
-- ARGV: prefix of locks, their lifetime (ms), most tasks (0 for no bound), prefix of kept results, then for each task:
-- name, delay (ms), fields as a JSON array
-- Returns for each 1 (added), 0 (its monitor has a task) or -1 (full).
local room = math.huge
if tonumber(ARGV[3]) > 0 then
  room = ARGV[3] - redis.call("XLEN", KEYS[1]) - redis.call("ZCARD", KEYS[3]) - redis.call("ZCARD", KEYS[4])
end
local now, answers = now_ms(), {}
for i = 5, #ARGV, 3 do
  local name, delay, lock = ARGV[i], tonumber(ARGV[i + 1]), ARGV[1] .. ARGV[i]
  local held = redis.call("GET", lock)
  if held and alive(KEYS[1], KEYS[3], KEYS[4], name, held) then
    answers[#answers + 1] = 0
  elseif room <= 0 then
    answers[#answers + 1] = -1
  else
    local where = "scheduled"
    if delay > 0 then
      redis.call("HSET", KEYS[2], name, ARGV[i + 2])
      redis.call("ZADD", KEYS[3], now + delay, name)
    else
      where = redis.call("XADD", KEYS[1], "*", unpack(cjson.decode(ARGV[i + 2])))
    end
    redis.call("SET", lock, where, "PX", ARGV[2] + delay)
    -- Whoever asks for the result means that of this task.
    redis.call("DEL", ARGV[4] .. name)
    room = room - 1
    answers[#answers + 1] = 1
  end
end
return answers
