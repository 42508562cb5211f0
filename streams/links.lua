-- Links, and the position of their topic that they stand for, in one read.
-- KEYS: positions of the topic, then one key a link. ARGV: partition.
local found = {}
for n = 2, #KEYS do found[n - 1] = redis.call('GET', KEYS[n]) end
return {redis.call('HGET', KEYS[1], ARGV[1]) or '0', found}
