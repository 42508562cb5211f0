-- Compare-and-set of one partition: all or nothing.
-- KEYS: offset, state, guard, timers index, generation, then one family key each.
-- ARGV: expected offset, new offset, partition state, guard, families n, generation, n family states,
--       then triples (authority, family, due or "") of timers.
-- A rebuild that put another generation of states in force meanwhile is a conflict like any other.
local held = redis.call('GET', KEYS[1]) or '0'
if (redis.call('GET', KEYS[5]) or '') ~= ARGV[6] then return -2 end
if held ~= ARGV[1] then return tonumber(held) end
local families = tonumber(ARGV[5])
for first = 1, families, 2000 do  -- unpack has a limit of about 8,000 values
  local pairs_ = {}
  for n = first, math.min(first + 1999, families) do
    pairs_[#pairs_ + 1] = KEYS[5 + n]
    pairs_[#pairs_ + 1] = ARGV[6 + n]
  end
  redis.call('MSET', unpack(pairs_))
end
for n = 7 + families, #ARGV, 3 do
  local index = KEYS[4] .. ':' .. ARGV[n]
  if ARGV[n + 2] == '' then redis.call('ZREM', index, ARGV[n + 1])
  else redis.call('ZADD', index, ARGV[n + 2], ARGV[n + 1]) end
end
redis.call('MSET', KEYS[1], ARGV[2], KEYS[2], ARGV[3], KEYS[3], ARGV[4])
return -1
