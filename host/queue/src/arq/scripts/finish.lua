-- KEYS: queue, aborts, dead letters, their jobs, their reasons
-- ARGV: most dead letters, then of each job: id, mark, and
--   "done", result, how long to keep it, and the reason if it goes to the dead letters (or ""), or
--   "again", pause (ms, "" to keep its place), "uncounted" if the try is not to count (or ""), ""
-- Returns 1 for each job, or 0 where the mark is not there any more and nothing was done.
local now, ids = clock(), every(2, 6)
local marks, claims = many("arq:in-progress:", ids)
local answers, done, gone = {}, {}, {}
for i, id in ipairs(ids) do
  local at = 2 + 6 * (i - 1)
  local mark, how, first, second, reason = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  answers[i] = marks[i] == mark and 1 or 0
  if answers[i] == 1 and how == "again" then
    gone[#gone + 1] = claims[i]
    if first ~= "" then call("ZADD", KEYS[1], "XX", number(now + tonumber(first)), id) end
    if second ~= "" then uncount(id) end
  elseif answers[i] == 1 then
    if reason ~= "" then
      local job = call("GET", "arq:job:" .. id)
      if job then
        call("HSET", KEYS[4], id, job)
        call("HSET", KEYS[5], id, reason)
        call("ZADD", KEYS[3], number(now), id)
      end
    end
    keep(id, first, second)
    done[#done + 1] = id
    local last = #gone
    gone[last + 1], gone[last + 2], gone[last + 3] = claims[i], "arq:job:" .. id, "arq:retry:" .. id
  end
end
if #done > 0 then
  call("ZREM", KEYS[1], unpack(done))
  if call("EXISTS", KEYS[2]) == 1 then call("ZREM", KEYS[2], unpack(done)) end
end
if #gone > 0 then call("DEL", unpack(gone)) end
local surplus = call("ZCARD", KEYS[3]) - tonumber(ARGV[1])
if surplus > 0 then
  for _, id in ipairs(call("ZRANGE", KEYS[3], 0, surplus - 1)) do bury(KEYS[3], KEYS[4], KEYS[5], id) end
end
return answers
