-- KEYS: stream of results
-- ARGV: about how many to keep, prefix of marks, their lifetime (ms), then for each result: name of its mark, id, how
-- many fields and values, these
-- Adds results, each once: the mark says which of a monitor's results was told last.
local i = 4
while i <= #ARGV do
  local mark, id, last = ARGV[2] .. ARGV[i], ARGV[i + 1], i + 2 + ARGV[i + 2]
  if redis.call("SET", mark, id, "PX", ARGV[3], "GET") ~= id then
    local out = redis.pcall("XADD", KEYS[1], "MAXLEN", "~", ARGV[1], "*", unpack(ARGV, i + 3, last))
    if type(out) == "table" then
      -- Not told, so it must not be marked.
      redis.call("DEL", mark)
      return out
    end
  end
  i = last + 1
end
return 1
