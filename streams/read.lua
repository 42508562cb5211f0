-- One atomic read of a partition: offset, state, due timers, families asked for, families due.
-- Nothing where another generation of states is in force than the keys are of.
-- KEYS: offset, state, timers index, prefix of family keys, generation.
-- ARGV: generation, families n, n family names, then triples (authority, until, limit).
if (redis.call('GET', KEYS[5]) or '') ~= ARGV[1] then return false end
local wanted, due, seen = {}, {}, {}
local families = tonumber(ARGV[2])
for n = 3, 2 + families do
  wanted[#wanted + 1] = ARGV[n]
  seen[ARGV[n]] = true
end
for n = 3 + families, #ARGV, 3 do
  local found = redis.call('ZRANGEBYSCORE', KEYS[3] .. ':' .. ARGV[n], '-inf', ARGV[n + 1], 'WITHSCORES', 'LIMIT', 0, ARGV[n + 2])
  for m = 1, #found, 2 do
    due[#due + 1] = ARGV[n]
    due[#due + 1] = found[m + 1]
    due[#due + 1] = found[m]
    if not seen[found[m]] then
      seen[found[m]] = true
      wanted[#wanted + 1] = found[m]
    end
  end
end
local states = {}
for first = 1, #wanted, 4000 do
  local keys = {}
  for n = first, math.min(first + 3999, #wanted) do keys[#keys + 1] = KEYS[4] .. wanted[n] end
  for _, state in ipairs(redis.call('MGET', unpack(keys))) do states[#states + 1] = state end
end
return {redis.call('GET', KEYS[1]) or '0', redis.call('GET', KEYS[2]) or false, wanted, states, due}
