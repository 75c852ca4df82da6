-- ARGV: how long from now (ms), then of each job: id, mark
-- Returns the ids whose marks are not there any more.
local ids, lost = every(2, 2), {}
local marks = many("arq:in-progress:", ids)
for i, id in ipairs(ids) do
  if marks[i] == ARGV[1 + 2 * i] then
    call("PEXPIRE", "arq:in-progress:" .. id, ARGV[1])
  else
    lost[#lost + 1] = id
  end
end
return lost
