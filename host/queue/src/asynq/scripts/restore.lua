-- KEYS: active, lease, pending
-- ARGV: prefix of task keys, then id and lease's end of each task to put back
-- Returns how many were put back: those whose lease did not change since it was looked at.
--
-- Asynq retries such a task later, or archives it when it has no retries left, which silences its monitor.
local restored = 0
for i = 2, #ARGV, 2 do
  if redis.call("ZSCORE", KEYS[2], ARGV[i]) == ARGV[i + 1] then
    if put_back(ARGV[1] .. ARGV[i], KEYS[1], KEYS[2], KEYS[3], ARGV[i]) then restored = restored + 1 end
  end
end
return restored
