-- Compare-and-set of what a stretch of a topic says: links, parked events, and the position read up to.
-- KEYS: positions of the topic, then one key a link, then one a parked event.
-- ARGV: partition, start, end, links n, n links, then pairs (coordinates, event).
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if held < tonumber(ARGV[2]) then return held end
local links = tonumber(ARGV[4])
for n = 1, links do
  local known = redis.call('GET', KEYS[1 + n])
  if not known or known < ARGV[4 + n] then redis.call('SET', KEYS[1 + n], ARGV[4 + n]) end
end
for n = 1, #KEYS - 1 - links do
  local at = 3 + links + 2 * n
  redis.call('HSET', KEYS[1 + links + n], ARGV[at], ARGV[at + 1])
end
if tonumber(ARGV[3]) > held then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return -1
