-- Compare-and-set of what a stretch of a topic says: links, parked events, and the position read up to.
-- KEYS: positions of the topic, then one key a link, then one a parked event.
-- ARGV: partition, start, end, links n, most events parked a person, n links, then pairs (coordinates, event).
local held = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if held < tonumber(ARGV[2]) then return held end
local links, most = tonumber(ARGV[4]), tonumber(ARGV[5])
for n = 1, links do
  local known = redis.call('GET', KEYS[1 + n])
  if not known or known < ARGV[5 + n] then redis.call('SET', KEYS[1 + n], ARGV[5 + n]) end
end
for n = 1, #KEYS - 1 - links do
  local key, at = KEYS[1 + links + n], 4 + links + 2 * n
  if redis.call('HLEN', key) < most then redis.call('HSET', key, ARGV[at], ARGV[at + 1]) end
end
if tonumber(ARGV[3]) > held then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return -1
