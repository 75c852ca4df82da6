-- KEYS: of each queue, the first to be served first: pending, paused, active, lease, archived
-- ARGV: room, lease's end, owner, then of each queue: prefix of task keys, most tasks to take
-- Returns of each task taken: place of the queue, id, message, pending since (ns, rounded; 0 when unknown,
-- -1 when the task was archived instead, because its id is no text: then nothing can be said about it elsewhere).
--
-- Asynq takes one task a call. Ids without a message are dropped on the way; the number of ids looked at is bounded
-- so that a heap of them cannot hold up the server. Nothing is moved before the first write that a full server
-- refuses.
local room, looks, taken, seen = tonumber(ARGV[1]), 1000 + tonumber(ARGV[1]), {}, {}
for place = 0, #KEYS / 5 - 1 do
  local pending, active, lease = KEYS[place * 5 + 1], KEYS[place * 5 + 3], KEYS[place * 5 + 4]
  local prefix, most = ARGV[4 + place * 2], math.min(room, tonumber(ARGV[5 + place * 2]))
  local ids, leases = {}, {}
  if most > 0 and redis.call("EXISTS", KEYS[place * 5 + 2]) == 0 then
    while most > #ids and looks > 0 do
      local listed = redis.call("LRANGE", pending, -math.min(most - #ids, looks), -1)
      if #listed == 0 then break end
      for i = #listed, 1, -1 do
        local id = listed[i]
        local task = prefix .. id
        local held = redis.pcall("HMGET", task, "msg", "state", "pending_since")
        if not held[1] then
          if not held.err then redis.call("DEL", task) end
        elseif not seen[task] and (held[2] ~= "active" or not redis.call("ZSCORE", lease, id)) then
          -- (Otherwise it is listed twice, and somebody works at it.)
          seen[task] = true
          local last, since = #taken, -1
          -- A full server refuses the first write. After it, one field goes before another comes, so that Redis need not
          -- make room in the hash.
          if last == 0 then redis.call("HSET", task, "state", "active") end
          if held[3] then redis.call("HDEL", task, "pending_since") end
          if is_text(id) then
            redis.call("HSET", task, "state", "active", "lapwing_owner", ARGV[3])
            ids[#ids + 1] = id
            leases[#leases + 1] = ARGV[2]
            leases[#leases + 1] = id
            since = math.max(tonumber(held[3]) or 0, 0)
          else
            redis.call("HSET", task, "state", "archived")
            redis.call("ZADD", KEYS[place * 5 + 5], redis.call("TIME")[1], id)
          end
          taken[last + 1], taken[last + 2], taken[last + 3], taken[last + 4] = place, id, held[1], since
        end
      end
      redis.call("RPOP", pending, #listed)
      looks = looks - #listed
    end
  end
  each("LPUSH", active, ids)
  each("ZADD", lease, leases)
  room = room - #ids
end
return taken
