-- Sets cooldowns and paces, gives back what blocks and permits still hold, tells new
-- cooldowns.
--
-- KEYS: book, cool, news, then one key for each of req.give, of req.drop, of req.slow
-- and of req.cool, and at last the list of paces.
-- ARGV[1]: the request as JSON. Answers {seq, news}.
local HEAD = 3

-- Several mailboxes of a tenant that are throttled within a short time: it is not the
-- mailboxes. KEYS: the tenant's set of mailboxes that were throttled, by time.
local function escalate(key, c)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', int(now - c.within))
  redis.call('ZADD', key, now, c.scope)
  redis.call('PEXPIRE', key, int(c.within))
  if redis.call('ZCARD', key) >= c.mailboxes then cool(c.wider, now + math.min(c.ms, c.longest)) end
end

local first = HEAD + #req.give + #req.drop + #req.slow
for i, c in ipairs(req.cool) do
  cool(c.scope, now + c.ms)
  if c.wider then escalate(KEYS[first + i], c) end
end
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


-- A throttled answer proved a rate too high: it falls, once per cooldown. Headers say
-- what the limit really is (atmost), or what is left until it resets (brake).
local function slow(key, s)
  local f = {}
  for _, name in ipairs({'share', 'fell', 'brake', 'till'}) do
    f[name] = tonumber(redis.call('HGET', key, name) or nil)
  end
  local was = share(f, s.grow)
  local is = was
  if s.fall and not (f.fell and now - f.fell < s.hold) then is = math.max(s.least, was * s.fall) end
  if s.atmost then is = math.max(s.least, math.min(is, s.atmost)) end
  if is < was then
    f.share, f.fell = is, now
    redis.call('HSET', key, 'share', string.format('%.4f', is), 'fell', int(now))
  end
  if s.brake then
    f.brake, f.till = math.max(s.least, s.brake), now + s.hold
    redis.call('HSET', key, 'brake', string.format('%.4f', f.brake), 'till', int(f.till))
  end
  redis.call('PEXPIRE', key, int(math.max(s.ttl, recovers(f, s.grow), redis.call('PTTL', key))))
  list_pace(KEYS[#KEYS], key, f, s.grow)
end

for i, s in ipairs(req.slow) do slow(KEYS[HEAD + #req.give + #req.drop + i], s) end
if #req.slow > 0 then trim_paces(KEYS[#KEYS]) end

local seq, fresh = news()
return {seq, fresh}
