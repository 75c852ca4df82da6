-- KEYS: queue, aborts, dead letters, their jobs, their reasons
-- ARGV: most dead letters, then of each job: id, mark, and
--   "done", result, how long to keep it, and the reason if it goes to the dead letters (or ""), or
--   "again", pause (ms, "" to keep its place), "uncounted" if the try is not to count (or ""), ""
-- Returns 1 for each job, or 0 where the mark is not there any more and nothing was done.
local now, ids = clock(), every(2, 6)
local marks = many("arq:in-progress:", ids)
local answers, done, gone = {}, {}, {}
for i, id in ipairs(ids) do
  local at = 2 + 6 * (i - 1)
  local mark, how, first, second, reason = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  answers[i] = marks[i] == mark and 1 or 0
  if answers[i] == 1 and how == "again" then
    gone[#gone + 1] = "arq:in-progress:" .. id
    if first ~= "" then redis.call("ZADD", KEYS[1], "XX", number(now + tonumber(first)), id) end
    if second ~= "" then uncount(id) end
  elseif answers[i] == 1 then
    if reason ~= "" then
      local job = redis.call("GET", "arq:job:" .. id)
      if job then
        redis.call("HSET", KEYS[4], id, job)
        redis.call("HSET", KEYS[5], id, reason)
        redis.call("ZADD", KEYS[3], number(now), id)
      end
    end
    keep(id, first, second)
    done[#done + 1] = id
    for _, prefix in ipairs({ "arq:in-progress:", "arq:job:", "arq:retry:" }) do gone[#gone + 1] = prefix .. id end
  end
end
if #done > 0 then
  redis.call("ZREM", KEYS[1], unpack(done))
  redis.call("ZREM", KEYS[2], unpack(done))
end
if #gone > 0 then redis.call("DEL", unpack(gone)) end
local surplus = redis.call("ZCARD", KEYS[3]) - tonumber(ARGV[1])
if surplus > 0 then
  for _, id in ipairs(redis.call("ZRANGE", KEYS[3], 0, surplus - 1)) do bury(KEYS[3], KEYS[4], KEYS[5], id) end
end
return answers
