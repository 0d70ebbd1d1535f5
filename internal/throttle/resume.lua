-- Carries a mirror into a book that was lost. Does nothing to a book that knows its past.
--
-- KEYS: book, cool, news, days, then one key for each of req.days. ARGV[1]: JSON.
-- Answers 1, or 0 if the book is resumed already.
local HEAD = 4
if redis.call('HGET', KEYS[1], 'resumed') then return 0 end

if req.fresh then
  redis.call('HSET', KEYS[1], 'born', 0)
else
  redis.call('HSETNX', KEYS[1], 'born', int(now))
end
for i, d in ipairs(req.days) do
  local key = KEYS[HEAD + i]
  for slot, count in pairs(d.slots) do
    if count > tonumber(redis.call('HGET', key, slot) or 0) then
      redis.call('HSET', key, slot, int(count))
    end
  end
  redis.call('PEXPIRE', key, d.ttl)
  redis.call('SADD', KEYS[4], key)
end
for _, c in ipairs(req.cool) do cool(c.scope, c['until']) end
if req.last then redis.call('HSET', KEYS[1], 'resumed', 1) end
return 1
