-- KEYS: queue, aborts
-- ARGV: id, result that says so, how long to keep it
-- Returns 1, or 0 when there is no such job.
--
-- A stock client leaves a waiting job to the next worker; here it ends at once, as that worker would end it.
local id = ARGV[1]
if not call("ZSCORE", KEYS[1], id) then return 0 end
if call("EXISTS", "arq:in-progress:" .. id) == 1 then
  call("ZADD", KEYS[2], number(clock()), id)
  return 1
end
keep(id, ARGV[2], ARGV[3])
call("ZREM", KEYS[1], id)
call("ZREM", KEYS[2], id)
call("DEL", "arq:job:" .. id, "arq:retry:" .. id)
return 1
