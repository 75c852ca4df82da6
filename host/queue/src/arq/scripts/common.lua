local call = redis.call

-- Redis's time in Unix milliseconds: one clock for all workers.
local function clock()
  local time = call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- A whole number as text; Lua would write a large one with an exponent.
local function number(value) return string.format("%.0f", value) end

-- What the keys of these ids hold, all with one command; and the keys.
local function many(prefix, ids)
  local keys = {}
  for i = 1, #ids do keys[i] = prefix .. ids[i] end
  return call("MGET", unpack(keys)), keys
end

-- The ids at every `step`th place from `first` on.
local function every(first, step)
  local ids = {}
  for i = first, #ARGV, step do ids[#ids + 1] = ARGV[i] end
  return ids
end

-- The function of a job that is written as stock clients and ours write it; nil for others.
local function called(job)
  local length, at = string.match(job, "^\128[\4\5]\149........}\148%(\140\1t\148N\140\1f\148\140(.)()")
  if not length then length, at = string.match(job, "^\128\4}%(\140\1tN\140\1f\140(.)()") end
  if length then return string.sub(job, at, at + string.byte(length) - 1) end
  length, at = string.match(job, "^\133\161t\192\161f([\160-\191])()")
  if length then return string.sub(job, at, at + string.byte(length) - 161) end
  return string.match(job, '^{"t": ?null, ?"f": ?"([^"\\]+)"')
end

-- One try fewer.
local function uncount(id)
  if call("DECR", "arq:retry:" .. id) <= 0 then call("DEL", "arq:retry:" .. id) end
end

-- Keeps a result; `lasting` is how long (ms), "0" for ever, "" not at all.
local function keep(id, result, lasting)
  if lasting == "0" then
    call("SET", "arq:result:" .. id, result)
  elseif lasting ~= "" then
    call("SET", "arq:result:" .. id, result, "PX", lasting)
  end
end

-- Takes a dead letter off.
local function bury(dead, jobs, reasons, id)
  call("HDEL", jobs, id)
  call("HDEL", reasons, id)
  return call("ZREM", dead, id)
end
