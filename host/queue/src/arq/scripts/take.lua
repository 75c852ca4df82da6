-- KEYS: queue, paused, aborts
-- ARGV: mark, how long it lasts (ms), longest job (bytes), offset to look from (from the last due if negative), ids to look at, room, most jobs to show,
--       number of ids to claim whatever they are, number of functions that are ours, "brief" to show no jobs (or ""); of
--       each id to claim the id and the least number of its try; the functions that are ours; the functions that are not
-- Returns now (ms), {id, try, score, 1 if to be aborted, job's length, job} of each claimed, {id, score, place, job's
-- length, job} of each that is due, not in work, and of a function that cannot be told here or an id that is not ASCII,
-- how many ids were looked at, when the next job is due (ms; -1 for unknown) if there was none, where the look began,
-- and how many are due.
--
-- Stock workers take one job in four round trips; this claims many in one, by the same rules. A job's marker in place
-- of "1" says whose it is; stock workers ask only whether there is one.
local now, claimed, shown = clock(), {}, {}
if call("EXISTS", KEYS[2]) == 1 then return { number(now), claimed, shown, 0, "-1", 0, 0 } end

local limit = tonumber(ARGV[3])
local function cut(job)
  if not job then return 0, "" end
  return #job, #job > limit and string.sub(job, 1, 4096) or job
end

-- Claims what is free, due and there.
local function claim(ids, scores, jobs, least)
  if #ids == 0 then return end
  local tries, counters = many("arq:retry:", ids)
  local aborts = call("EXISTS", KEYS[3]) == 1 and call("ZMSCORE", KEYS[3], unpack(ids)) or {}
  for i, id in ipairs(ids) do
    if scores[i] and tonumber(scores[i]) <= now
      and call("SET", "arq:in-progress:" .. id, ARGV[1], "NX", "PX", ARGV[2]) then
      local try = math.max((tonumber(tries[i]) or 0) + 1, least[i] or 0)
      -- As long as stock workers keep it.
      call("SET", counters[i], try, "EX", 88400)
      local length, job = cut(jobs[i])
      claimed[#claimed + 1] = { id, try, scores[i], aborts[i] and 1 or 0, length, job }
    end
  end
end

local at = 10
local ids, least = {}, {}
for i = 1, tonumber(ARGV[8]) do
  ids[i], least[i] = ARGV[at + 1], tonumber(ARGV[at + 2])
  at = at + 2
end
if #ids > 0 then claim(ids, call("ZMSCORE", KEYS[1], unpack(ids)), many("arq:job:", ids), least) end
local ours, known = tonumber(ARGV[9]), {}
for i = at + 1, #ARGV do known[ARGV[i]] = i <= at + ours and "ours" or "foreign" end

local total, from = call("ZCOUNT", KEYS[1], "-inf", number(now)), tonumber(ARGV[4])
if from < 0 then from = math.max(0, total + from) end
local brief = ARGV[10] ~= ""
local count, room, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local looked, free, spent, upcoming = 0, 0, 0, "-1"
local take, scores, jobs = {}, {}, {}
local function enough() return #take == room or #shown == most or spent > 8 * limit end
local size = math.max(64, math.min(room, 512))
while looked < math.min(count, total - from) and not enough() do
  local page = math.min(count - looked, size, total - from - looked)
  -- By rank: those due come first, and counting up to an offset by score would take as long as there are jobs.
  local due = call("ZRANGE", KEYS[1], from + looked, from + looked + page - 1, "WITHSCORES")
  size = math.min(size * 2, 512)
  local all, idle, places = {}, {}, {}
  for i = 1, #due, 2 do all[#all + 1] = due[i] end
  local marks = #all > 0 and many("arq:in-progress:", all)
  for place, id in ipairs(all) do
    if not marks[place] then
      idle[#idle + 1] = id
      places[#idle] = place
    end
  end
  local found, seen = #idle > 0 and many("arq:job:", idle), #all
  for i, id in ipairs(idle) do
    if enough() then
      seen = places[i] - 1
      break
    end
    local job, score = found[i], due[2 * places[i]]
    local whose = job and known[called(job) or ""]
    local cost = job and math.min(#job, limit) or 0
    if whose == "ours" and not string.find(id, "[\128-\255]") then
      take[#take + 1] = id
      scores[#take], jobs[#take] = score, job
      spent = spent + cost
    elseif whose ~= "foreign" and brief then
      shown[#shown + 1] = { id, score, looked + places[i] - 1, 0, "" }
    elseif whose ~= "foreign" then
      spent = spent + cost
      shown[#shown + 1] = { id, score, looked + places[i] - 1, cut(job) }
    end
  end
  free, looked = free + #idle, looked + seen
end
claim(take, scores, jobs, {})
if room > 0 and free == 0 and looked < count then
  local first = call("ZRANGE", KEYS[1], "(" .. number(now), "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
  upcoming = first[2] or "-1"
end
return { number(now), claimed, shown, looked, upcoming, from, total }
