-- What intake asks of a batch, at one moment: the authorities, and everybody's link.
-- KEYS: authorities, then one link each.
local links = {}
for first = 2, #KEYS, 4000 do  -- unpack has a limit of about 8,000 values
  for _, link in ipairs(redis.call('MGET', unpack(KEYS, first, math.min(first + 3999, #KEYS)))) do
    links[#links + 1] = link
  end
end
return {redis.call('HGETALL', KEYS[1]), links}
