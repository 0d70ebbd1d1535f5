-- Carries a mirror into a book that was lost. Does nothing to a book that knows its past.
--
-- KEYS: book, cool, news, days, paces, then one key for each of req.days and of
-- req.slow. ARGV[1]: JSON.
-- Answers 1, or 0 if the book is resumed already.
local HEAD = 5
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

-- What was slowed since the loss knows better.
local function slow(key, p)
  if redis.call('HEXISTS', key, 'share') == 1 or redis.call('HEXISTS', key, 'till') == 1 then return end
  local f = {}
  if p.fell then
    f.share, f.fell = p.share, p.fell
    redis.call('HSET', key, 'share', string.format('%.4f', p.share), 'fell', int(p.fell))
  end
  if p['till'] then
    f.brake, f.till = p.brake, p['till']
    redis.call('HSET', key, 'brake', string.format('%.4f', p.brake), 'till', int(f.till))
  end
  redis.call('PEXPIRE', key, int(math.max(1, recovers(f, req.grow), redis.call('PTTL', key))))
  list_pace(KEYS[5], key, f, req.grow)
end
for i, p in ipairs(req.slow) do slow(KEYS[HEAD + #req.days + i], p) end
if #req.slow > 0 then trim_paces(KEYS[5]) end

if req.last then redis.call('HSET', KEYS[1], 'resumed', 1) end
return 1
