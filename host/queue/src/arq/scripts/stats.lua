-- KEYS: queue, paused, dead letters
-- ARGV: how many due jobs to look at, then functions that are not ours
-- Returns how many are due, without those of such functions among the first of them; in work among the first of them,
-- and due later; how long the first one not in work has been due (ms; -1 for none); how many dead letters there are;
-- whether the queue is paused.
--
-- Jobs in work stay on the queue, at its head mostly: arq counts them nowhere.
local now = clock()
local due, all = call("ZCOUNT", KEYS[1], "-inf", number(now)), call("ZCARD", KEYS[1])
local first = call("ZRANGE", KEYS[1], "-inf", number(now), "BYSCORE", "LIMIT", 0, ARGV[1], "WITHSCORES")
local ids = {}
for i = 1, #first, 2 do ids[#ids + 1] = first[i] end
local foreign, active, others, oldest = {}, 0, 0, -1
for _, name in ipairs(every(2, 1)) do foreign[name] = true end

-- Whether it is of such a function: that is told by a job's beginning.
local function left(id)
  local job = next(foreign) and redis.pcall("GETRANGE", "arq:job:" .. id, 0, 511)
  return type(job) == "string" and foreign[called(job) or ""]
end

if #ids > 0 then
  local marks = many("arq:in-progress:", ids)
  for i = 1, #ids do
    if marks[i] then
      active = active + 1
    elseif left(ids[i]) then
      others = others + 1
    elseif oldest < 0 then
      oldest = now - first[2 * i]
    end
  end
end
return { due - others, active, all - due, oldest, call("ZCARD", KEYS[3]), call("EXISTS", KEYS[2]) }
