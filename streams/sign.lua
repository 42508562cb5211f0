-- Signs of life: of each source the greatest is kept, whoever writes at the same time.
-- KEYS: signs of the authority. ARGV: pairs (source, seconds since 1970).
for n = 1, #ARGV, 2 do
  local held = tonumber(redis.call('HGET', KEYS[1], ARGV[n]) or '0')
  if tonumber(ARGV[n + 1]) > held then redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1]) end
end
