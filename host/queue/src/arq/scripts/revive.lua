-- KEYS: dead letters, their jobs, their reasons, queue, aborts
-- ARGV: id, how long the job is kept (ms; "" to discard it)
-- Returns 1, or 0 when there is no such dead letter. Where there is a new job of its id, the dead one has nothing left
-- to tell.
local id = ARGV[1]
local job = call("HGET", KEYS[2], id)
if bury(KEYS[1], KEYS[2], KEYS[3], id) == 0 then return 0 end
if ARGV[2] ~= "" and job and call("EXISTS", "arq:job:" .. id, "arq:in-progress:" .. id) == 0 then
  call("DEL", "arq:result:" .. id, "arq:retry:" .. id)
  call("ZREM", KEYS[5], id)
  call("SET", "arq:job:" .. id, job, "PX", ARGV[2])
  call("ZADD", KEYS[4], number(clock()), id)
end
return 1
