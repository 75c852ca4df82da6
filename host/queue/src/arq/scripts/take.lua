-- KEYS: queue, paused, aborts
-- ARGV: mark, how long it lasts (ms), longest job (bytes), offset to look from, ids to look at, candidates wanted,
--       number of ids to claim, of each the id and the least number of its try, then of each id not to be looked at
--       again its score
-- Returns now (ms), {id, try, score, 1 if to be aborted, job's length, job} of each claimed, {id, score, length, job}
-- of each candidate, how many ids were looked at, how many of them before the first candidate, and when the next one
-- is due (ms; -1 for never) if there is nothing now.
--
-- Stock workers take one job in four round trips; this claims many, by the same rules, and looks at what to claim
-- next. A job's marker in place of "1" says whose it is; stock workers ask only whether there is one.
local now, claimed, seen = clock(), {}, {}
local nothing = { number(now), claimed, seen, 0, 0, "-1" }
if redis.call("EXISTS", KEYS[2]) == 1 then return nothing end

local limit = tonumber(ARGV[3])
local function cut(job)
  if not job then return 0, "" end
  return #job, #job > limit and string.sub(job, 1, 4096) or job
end

local last = 7 + 2 * tonumber(ARGV[7])
local ids = {}
for i = 8, last, 2 do ids[#ids + 1] = ARGV[i] end
if #ids > 0 then
  local scores = redis.call("ZMSCORE", KEYS[1], unpack(ids))
  local marks, jobs = many("arq:in-progress:", ids), many("arq:job:", ids)
  local tries = many("arq:retry:", ids)
  local aborts = redis.call("EXISTS", KEYS[3]) == 1 and redis.call("ZMSCORE", KEYS[3], unpack(ids)) or {}
  for i, id in ipairs(ids) do
    if scores[i] and not marks[i] and tonumber(scores[i]) <= now then
      redis.call("SET", "arq:in-progress:" .. id, ARGV[1], "PX", ARGV[2])
      local try = math.max((tonumber(tries[i]) or 0) + 1, tonumber(ARGV[7 + 2 * i]))
      -- As long as stock workers keep it.
      redis.call("SET", "arq:retry:" .. id, number(try), "EX", 88400)
      local length, job = cut(jobs[i])
      claimed[#claimed + 1] = { id, try, scores[i], aborts[i] and 1 or 0, length, job }
    end
  end
end

local count, wanted = tonumber(ARGV[5]), tonumber(ARGV[6])
if wanted == 0 then return nothing end
local known = {}
for i = last + 1, #ARGV, 2 do known[ARGV[i]] = ARGV[i + 1] end
local due = redis.call("ZRANGE", KEYS[1], "-inf", number(now), "BYSCORE", "LIMIT", ARGV[4], count, "WITHSCORES")
ids = {}
for i = 1, #due, 2 do ids[#ids + 1] = due[i] end
local looked, lead, free, scores = 0, 0, {}, {}
if #ids > 0 then
  local marks = many("arq:in-progress:", ids)
  for i, id in ipairs(ids) do
    if #free == wanted then break end
    looked = i
    if not marks[i] and known[id] ~= due[2 * i] then
      free[#free + 1] = id
      scores[#free] = due[2 * i]
    elseif #free == 0 then
      lead = i
    end
  end
end
local upcoming = "-1"
if #free > 0 then
  local jobs = many("arq:job:", free)
  for i, id in ipairs(free) do
    local length, job = cut(jobs[i])
    seen[i] = { id, scores[i], length, job }
  end
elseif looked < count then
  local first = redis.call("ZRANGE", KEYS[1], "(" .. number(now), "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
  upcoming = first[2] or "-1"
end
return { number(now), claimed, seen, looked, lead, upcoming }
