-- Sets cooldowns, gives back what blocks and permits still hold, tells new cooldowns.
--
-- KEYS: book, cool, news, then one key for each of req.give and each of req.drop.
-- ARGV[1]: the request as JSON. Answers {seq, news}.
local HEAD = 3
for _, c in ipairs(req.cool) do cool(c.scope, now + c.ms) end
for _, scope in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 20)) do
  redis.call('ZREM', KEYS[2], scope)
  redis.call('ZREM', KEYS[3], scope)
end

for i, g in ipairs(req.give) do
  local key = KEYS[HEAD + i]
  local back = math.min(g.amount, tonumber(redis.call('HGET', key, int(g.slot)) or 0))
  -- What a bucket lent and has written off as spent must not come back.
  if back > 0 and (g.ring or g.slot > now) then
    redis.call('HINCRBY', key, int(g.slot), -back)
    if not g.ring then
      local level = tonumber(redis.call('HGET', key, 'level') or 0)
      redis.call('HSET', key, 'level', string.format('%.6f', math.min(g.cap, level + back)))
    end
  end
end
for i, ids in ipairs(req.drop) do
  redis.call('ZREM', KEYS[HEAD + #req.give + i], unpack(ids))
end

local seq, fresh = news()
return {seq, fresh}
