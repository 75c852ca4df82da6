-- KEYS: aborts
-- ARGV: age past which a request without a job is forgotten (ms), then ids
-- Returns those that are to be aborted. Stock workers mean to forget requests too, but look for ones in the future.
local wanted = {}
if call("EXISTS", KEYS[1]) == 0 then return wanted end
local ids = every(2, 1)
if #ids > 0 then
  local asked = call("ZMSCORE", KEYS[1], unpack(ids))
  for i, id in ipairs(ids) do
    if asked[i] then wanted[#wanted + 1] = id end
  end
end
local old = call("ZRANGE", KEYS[1], "-inf", number(clock() - ARGV[1]), "BYSCORE", "LIMIT", 0, 100)
for _, id in ipairs(old) do
  if call("EXISTS", "arq:job:" .. id) == 0 then call("ZREM", KEYS[1], id) end
end
return wanted
