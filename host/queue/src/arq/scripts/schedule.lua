-- KEYS: queue, aborts
-- ARGV: id, job, delay (ms), how long the job is kept past that (ms)
-- Returns 1, or 0 when a job of this id waits or is in work.
--
-- A stock client is also kept out by a kept result; here that would silence a monitor for an hour. A marker without a
-- job is the job's that expired while it runs: its end would take a new one with it.
local id = ARGV[1]
if call("EXISTS", "arq:job:" .. id, "arq:in-progress:" .. id) > 0 then return 0 end
call("DEL", "arq:result:" .. id, "arq:retry:" .. id)
call("ZREM", KEYS[2], id)
call("SET", "arq:job:" .. id, ARGV[2], "PX", number(ARGV[3] + ARGV[4]))
call("ZADD", KEYS[1], number(clock() + ARGV[3]), id)
return 1
