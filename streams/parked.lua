-- Some of the parked events of some people, so many in all at most.
-- KEYS: one a person. ARGV: most events. Answer: for each of the first people, coordinates and events in turn.
local left, found = tonumber(ARGV[1]), {}
for n = 1, #KEYS do
  if left <= 0 then break end
  found[n] = redis.call('HRANDFIELD', KEYS[n], left, 'WITHVALUES')
  left = left - #found[n] / 2
end
return found
