-- KEYS: queue
-- ARGV: most ids to look at, then marks
-- Gives back what was claimed under these marks, in answers that never came. Returns how many.
local given, released = {}, 0
for _, mark in ipairs(every(2, 1)) do given[mark] = true end
for offset = 0, ARGV[1] - 1, 4000 do
  local ids = call("ZRANGE", KEYS[1], "-inf", number(clock()), "BYSCORE", "LIMIT", offset, 4000)
  if #ids == 0 then break end
  local marks = many("arq:in-progress:", ids)
  for i, id in ipairs(ids) do
    if marks[i] and given[marks[i]] then
      call("DEL", "arq:in-progress:" .. id)
      uncount(id)
      released = released + 1
    end
  end
end
return released
