-- KEYS: of each queue, most important first: pending, paused, active, lease
-- ARGV: room, lease's end, owner, then of each queue the prefix of task keys
-- Returns {index of the queue, id, message} of each task taken.
--
-- Asynq takes one task a call. Ids without a message are dropped on the way; the number of pops is bounded so that
-- a heap of them cannot hold up the server.
local room, pops, taken = tonumber(ARGV[1]), 1000 + tonumber(ARGV[1]), {}
for queue = 0, #KEYS / 4 - 1 do
  local pending, paused = KEYS[queue * 4 + 1], KEYS[queue * 4 + 2]
  local active, lease = KEYS[queue * 4 + 3], KEYS[queue * 4 + 4]
  local leases = {}
  if room > 0 and redis.call("EXISTS", paused) == 0 then
    while room > 0 and pops > 0 do
      local id = redis.call("RPOPLPUSH", pending, active)
      if not id then break end
      pops = pops - 1
      local task = ARGV[4 + queue] .. id
      local held = redis.call("HMGET", task, "msg", "state")
      if not held[1] then
        redis.call("LREM", active, 1, id)
        redis.call("DEL", task)
      elseif held[2] == "active" and redis.call("ZSCORE", lease, id) then
        -- Listed twice, and somebody works at it.
        redis.call("LREM", active, 1, id)
      else
        redis.call("HSET", task, "state", "active", "lapwing_owner", ARGV[3])
        redis.call("HDEL", task, "pending_since")
        leases[#leases + 1] = ARGV[2]
        leases[#leases + 1] = id
        taken[#taken + 1] = { queue, id, held[1] }
        room = room - 1
      end
    end
  end
  if #leases > 0 then redis.call("ZADD", lease, unpack(leases)) end
end
return taken
