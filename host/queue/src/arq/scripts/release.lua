-- ARGV: of each job: id, mark
-- Gives back what was claimed in an answer that never came. Returns how many.
local ids, released = every(1, 2), 0
local marks = many("arq:in-progress:", ids)
for i, id in ipairs(ids) do
  if marks[i] == ARGV[2 * i] then
    redis.call("DEL", "arq:in-progress:" .. id)
    uncount(id)
    released = released + 1
  end
end
return released
