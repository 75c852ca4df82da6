-- Whether the task that a name's lock speaks of is still there: the lock outlives a stream that someone deleted.
local function alive(stream, scheduled, again, name, held)
  if held == "scheduled" then return redis.call("ZSCORE", scheduled, name) end
  if held == "retry" then return redis.call("ZSCORE", again, name) end
  local found = redis.pcall("XRANGE", stream, held, held)
  return found[1]
end

local function now_ms()
  local time = redis.call("TIME")
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- As XPENDING. Without the group nothing is pending; any other refusal is the script's.
local function pending(...)
  local found = redis.pcall("XPENDING", ...)
  if not found.err then return found end
  if found.err:find("NOGROUP", 1, true) then return {} end
  return redis.call("XPENDING", ...)
end

-- Who has an entry, and how often it was handed out; nothing when it is nobody's.
local function holder(stream, group, id)
  local found = pending(stream, group, id, id, 1)[1]
  if found then return found[2], found[4] end
end

-- Answers whether an entry is still ours: handed out so often, and not taken by anybody since. Parked ones are.
-- One look for all of them between two ids: a look for each would cost more than all the rest.
local function ownership(stream, group, me, parked, least, greatest, count)
  local times = {}
  for _, entry in ipairs(pending(stream, group, least, greatest, count * 2, me)) do times[entry[1]] = entry[4] end
  return function(id, deliveries)
    local last = times[id]
    if not last then
      local owner
      owner, last = holder(stream, group, id)
      if owner ~= me and owner ~= parked then return false end
    end
    return last == tonumber(deliveries)
  end
end
