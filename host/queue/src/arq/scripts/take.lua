-- KEYS: queue, paused, aborts
-- ARGV: mark, how long it lasts (ms), longest job (bytes), offset to look from, ids to look at, ids wanted, number of
--       ids to claim, number of ids to fetch, of each to claim the id and the least number of its try, and of each to
--       fetch the id
-- Returns now (ms), {id, try, score, 1 if to be aborted, job's length, job} of each claimed, {id, job's length, job} of
-- each fetched, {id, score, place} of each that is due and not in work, how many ids were looked at, and when the next
-- one is due (ms; -1 for unknown) if there is nothing now.
--
-- Stock workers take one job in four round trips. This claims many, by the same rules; it fetches jobs to tell whose
-- they are, and looks at what comes next. A job's marker in place of "1" says whose it is; stock workers ask only
-- whether there is one.
local now, claimed, fetched, seen = clock(), {}, {}, {}
if redis.call("EXISTS", KEYS[2]) == 1 then return { number(now), claimed, fetched, seen, 0, "-1" } end

local limit = tonumber(ARGV[3])
local function cut(job)
  if not job then return 0, "" end
  return #job, #job > limit and string.sub(job, 1, 4096) or job
end

local last = 8 + 2 * tonumber(ARGV[7])
local ids = {}
for i = 9, last, 2 do ids[#ids + 1] = ARGV[i] end
if #ids > 0 then
  local scores = redis.call("ZMSCORE", KEYS[1], unpack(ids))
  local marks, jobs = many("arq:in-progress:", ids), many("arq:job:", ids)
  local tries = many("arq:retry:", ids)
  local aborts = redis.call("EXISTS", KEYS[3]) == 1 and redis.call("ZMSCORE", KEYS[3], unpack(ids)) or {}
  for i, id in ipairs(ids) do
    if scores[i] and not marks[i] and tonumber(scores[i]) <= now then
      redis.call("SET", "arq:in-progress:" .. id, ARGV[1], "PX", ARGV[2])
      local try = math.max((tonumber(tries[i]) or 0) + 1, tonumber(ARGV[8 + 2 * i]))
      -- As long as stock workers keep it.
      redis.call("SET", "arq:retry:" .. id, number(try), "EX", 88400)
      local length, job = cut(jobs[i])
      claimed[#claimed + 1] = { id, try, scores[i], aborts[i] and 1 or 0, length, job }
    end
  end
end

ids = every(last + 1, 1)
if #ids > 0 then
  local jobs = many("arq:job:", ids)
  for i, id in ipairs(ids) do
    local length, job = cut(jobs[i])
    fetched[i] = { id, length, job }
  end
end

local count, wanted = tonumber(ARGV[5]), tonumber(ARGV[6])
local looked, upcoming = 0, "-1"
if wanted > 0 then
  local due = redis.call("ZRANGE", KEYS[1], "-inf", number(now), "BYSCORE", "LIMIT", ARGV[4], count, "WITHSCORES")
  ids = {}
  for i = 1, #due, 2 do ids[#ids + 1] = due[i] end
  local marks = #ids > 0 and many("arq:in-progress:", ids)
  for i, id in ipairs(ids) do
    if #seen == wanted then break end
    looked = i
    if not marks[i] then seen[#seen + 1] = { id, due[2 * i], i - 1 } end
  end
  if #seen == 0 and looked < count then
    local first = redis.call("ZRANGE", KEYS[1], "(" .. number(now), "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
    upcoming = first[2] or "-1"
  end
end
return { number(now), claimed, fetched, seen, looked, upcoming }
