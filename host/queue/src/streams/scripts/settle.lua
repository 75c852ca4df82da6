-- KEYS: stream, dead, later, retry, processed, failed, cancelled
-- ARGV: group, consumer, parked, prefix of locks, prefix of kept results, how long results are kept (ms), lifetime of
-- locks (ms), most dead letters, whether the server has XACKDEL (1 or 0), least id, greatest id, then for each entry:
-- verb, id, how often handed out, name, and two of the verb's own
-- Returns for each 1 (done), 0 (no longer ours) or the server's refusal.
local stream, group, me, parked = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local FIRST, WIDTH = 12, 6

local count = (#ARGV - FIRST + 1) / WIDTH
local ours, seen = ownership(stream, group, me, parked, ARGV[10], ARGV[11], count), {}
local done, locks, owners, kept, stale, processed, failed = {}, {}, {}, {}, {}, 0, 0
local function finish(id, name)
  done[#done + 1] = id
  locks[#locks + 1], owners[#locks + 1] = ARGV[4] .. name, id
end
local verbs = {}

-- Only asks.
function verbs.confirm() end

function verbs.ack(id, _, name, result)
  finish(id, name)
  processed = processed + 1
  if result ~= "" then kept[#kept + 1] = { name, result } end
end

function verbs.retry(id, _, name, fields, pause)
  local lock = redis.call("GET", ARGV[4] .. name)
  -- Another task of the monitor has the name by now: this one goes by its entry.
  if lock and lock ~= id then name = id end
  local out = redis.pcall("HSET", KEYS[3], name, fields)
  if type(out) == "table" then return out end
  redis.call("ZADD", KEYS[4], now_ms() + pause, name)
  redis.call("SET", ARGV[4] .. name, "retry", "PX", ARGV[7] + pause)
  done[#done + 1] = id
  failed = failed + 1
end

function verbs.archive(id, deliveries, name, why)
  local letter = { "stream", stream, "group", group, "id", id, "deliveries", deliveries, "reason", why, "task", name }
  local entry = redis.call("XRANGE", stream, id, id)[1]
  local fields = entry and entry[2] or {}
  for i = 1, math.min(#fields, 2000), 2 do
    letter[#letter + 1] = "payload:" .. fields[i]
    letter[#letter + 1] = fields[i + 1]
  end
  local out = redis.pcall("XADD", KEYS[2], "MAXLEN", "~", ARGV[8], "*", unpack(letter))
  if type(out) == "table" and out.err then return out end
  finish(id, name)
  stale[#stale + 1] = ARGV[5] .. name
  processed, failed = processed + 1, failed + 1
end

function verbs.requeue(id, deliveries)
  -- It was not tried, so it does not count.
  redis.call("XCLAIM", stream, group, parked, 0, id, "RETRYCOUNT", deliveries - 1, "JUSTID")
end

local answers = {}
for i = FIRST, #ARGV, WIDTH do
  local id, deliveries = ARGV[i + 1], ARGV[i + 2]
  local answer = 0
  if not seen[id] and ours(id, deliveries) then
    seen[id] = true
    local out = verbs[ARGV[i]](id, deliveries, ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    answer = out and out.err or 1
  end
  answers[#answers + 1] = answer
end

if #done > 0 then
  -- First of all what a full memory does not hinder; after it, nothing of this script is refused.
  local out = { err = "" }
  if ARGV[9] == "1" then out = redis.pcall("XACKDEL", stream, group, "IDS", #done, unpack(done)) end
  if out.err then
    redis.call("XACK", stream, group, unpack(done))
    redis.call("XDEL", stream, unpack(done))
  end
  if redis.call("EXISTS", KEYS[7]) == 1 then redis.call("ZREM", KEYS[7], unpack(done)) end
  if #locks > 0 then
    local mine = {}
    for i, holds in ipairs(redis.call("MGET", unpack(locks))) do
      if holds == owners[i] then mine[#mine + 1] = locks[i] end
    end
    if #mine > 0 then redis.call("DEL", unpack(mine)) end
  end
  -- The result of an earlier run says nothing of a task that was given up.
  if #stale > 0 then redis.call("DEL", unpack(stale)) end
  for _, result in ipairs(kept) do
    redis.pcall("SET", ARGV[5] .. result[1], result[2], "PX", ARGV[6])
  end
  if processed > 0 then redis.pcall("INCRBY", KEYS[5], processed) end
  if failed > 0 then redis.pcall("INCRBY", KEYS[6], failed) end
end
return answers
