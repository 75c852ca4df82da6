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

-- Who has an entry, and how often it was handed out; nothing when it is nobody's (or the group is gone).
local function holder(stream, group, id)
  local found = redis.pcall("XPENDING", stream, group, id, id, 1)
  if found.err or not found[1] then return nil end
  return found[1][2], found[1][4]
end

-- Answers whether an entry is still ours: handed out so often, and not taken by anybody since. Parked ones are.
-- One look for all of them between two ids: a look for each would cost more than all the rest.
local function ownership(stream, group, me, parked, least, greatest, count)
  local times, found = {}, redis.pcall("XPENDING", stream, group, least, greatest, count * 2, me)
  for _, entry in ipairs(found) do times[entry[1]] = entry[4] end
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
