-- Takes from all accounts of a call or from none. An account whose need is 0 is only
-- asked for a block, and refuses nothing.
--
-- KEYS: book, cool, news, days, the accounts in the order of req.accounts, and
-- the mailbox's permits if req.permit is there. ARGV[1]: the request as JSON.
-- Answers {1, seq, news, surplus per account, slot per account, 1 if the spare permit was free too} or
-- {0, seq, news, wait in ms, code, 0}. Times are milliseconds of Redis's clock.
local HEAD = 4
local born, resumed = tonumber(redis.call('HGET', KEYS[1], 'born') or nil), redis.call('HGET', KEYS[1], 'resumed')
if not born then
  born = now
  redis.call('HSET', KEYS[1], 'born', int(now))
end
local seq, fresh = news()

local wait, code = 0, ''
local function refuse(w, c)
  if w > wait then wait, code = w, c end
end

for _, scope in ipairs(req.scopes) do
  refuse(cooling_till(scope) - now, 'cooldown/' .. scope)
end
if wait > 0 then return {0, seq, fresh, wait, code, 0} end

-- A bucket: level and time, its pace (see common.lua), and what is lent out by the
-- time it expires.
local function bucket(key, a)
  local out, dead, f = 0, {}, {}
  local h = redis.call('HGETALL', key)
  for i = 1, #h, 2 do
    local slot, value = tonumber(h[i]), tonumber(h[i + 1])
    if not slot then f[h[i]] = value
    elseif slot <= now then dead[#dead + 1] = h[i]
    else
      for _, s in ipairs(a.spent or {}) do -- used since: lent out no more
        if s[1] == slot then
          local n = math.min(value, s[2])
          value = redis.call('HINCRBY', key, h[i], int(-n))
        end
      end
      out = out + value
    end
  end
  local rate = a.rate * pace(f, a.grow)
  local at, level = f.at or now, nil
  if f.level then level = f.level + math.max(0, now - at) * rate
  else level = (now - born) * rate end -- unknown: idle since, or a lost book
  level = math.min(a.cap, level)

  local floor = req.reserve and 0 or a.floor
  local enough = math.min(a.need + floor, a.cap)
  -- Bulk that uses its blocks up waits up to a second longer, for a whole one: at the
  -- limit, too, Redis is not asked for each request alone. Nothing is lost by it while
  -- the bucket is not full: who comes a little late must still find room in it.
  local ahead = req.reserve and 0 or math.min(a.want, a.out - out, a.cap * 0.85 - enough, rate * 1000)
  local short = level < enough or (a.eager and ahead >= a.want / 2 and level < enough + ahead)
  if a.need > 0 and short then
    refuse(math.max(1, math.ceil((enough + math.max(0, ahead) - level) / rate)), a.name)
    return nil
  end
  local surplus = math.max(0, math.floor(math.min(a.want, level - a.need - a.floor, a.out - out)))
  local slot = math.ceil((now + a.life) / a.slot) * a.slot
  return surplus, slot, function()
    if #dead > 0 then redis.call('HDEL', key, unpack(dead)) end
    redis.call('HSET', key, 'level', string.format('%.6f', level - a.need - surplus), 'at', int(math.max(at, now)))
    if surplus > 0 then redis.call('HINCRBY', key, int(slot), surplus) end
    redis.call('PEXPIRE', key, int(math.max(a.ttl, recovers(f, a.grow))))
  end
end

-- A ring: what was drawn, by slot of time.
local function ring(key, a)
  if a.need == 0 and not resumed then return 0, 0, function() end end
  if now - born < a.window and not (a.mirrored and resumed) then
    local left = born + a.window - now
    if a.mirrored then left = math.min(left, 10000) end -- Resume is due any moment
    refuse(left, 'book/lost')
    return nil
  end
  local current = math.floor(now / a.slot)
  local total, live, dead = 0, {}, {}
  local h = redis.call('HGETALL', key)
  for i = 1, #h, 2 do
    local slot, value = tonumber(h[i]), tonumber(h[i + 1])
    if slot < current - a.slots then dead[#dead + 1] = h[i]
    else
      total = total + value
      live[#live + 1] = {slot, value}
    end
  end
  local kept = a.floor
  if a.melts then kept = kept * (1 - (now % 86400000) / 86400000) end
  local floor = req.reserve and 0 or kept
  local enough = math.min(a.need + floor, a.limit)
  if a.need > 0 and total + enough > a.limit then
    table.sort(live, function(x, y) return x[1] < y[1] end)
    local over, w = total + enough - a.limit, a.window
    for _, s in ipairs(live) do
      over = over - s[2]
      if over <= 0 then
        w = (s[1] + a.slots + 1) * a.slot - now
        break
      end
    end
    local spare = a.limit - total - a.need
    if a.melts and floor > 0 and spare >= 0 then -- or when enough of the floor has melted
      w = math.min(w, math.ceil(86400000 * (1 - spare / a.floor)) - now % 86400000)
    end
    refuse(math.max(1, w), a.name)
    return nil
  end
  local surplus = math.max(0, math.floor(math.min(a.want, a.limit - total - a.need - kept)))
  return surplus, current, function()
    if #dead > 0 then redis.call('HDEL', key, unpack(dead)) end
    redis.call('HINCRBY', key, int(current), a.need + surplus)
    redis.call('PEXPIRE', key, a.ttl)
    if a.mirrored then redis.call('SADD', KEYS[4], key) end
  end
end

local surplus, slots, writes = {}, {}, {}
for i, a in ipairs(req.accounts) do
  local shape = a.ring and ring or bucket
  surplus[i], slots[i], writes[i] = shape(KEYS[HEAD + i], a)
end

local p, taken, spare = req.permit, 0, 0
if p then
  local key = KEYS[#KEYS]
  if p.drop then redis.call('ZREM', key, unpack(p.drop)) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
  taken = redis.call('ZCARD', key)
  if taken >= p.max then refuse(p.poll, p.name) end
end
if wait > 0 then return {0, seq, fresh, wait, code, 0} end

for _, write in ipairs(writes) do write() end
if p then
  redis.call('ZADD', KEYS[#KEYS], now + p.ttl, p.id)
  if p.spare and taken + 1 < p.max then
    redis.call('ZADD', KEYS[#KEYS], now + p.ttl, p.spare)
    spare = 1
  end
  last(KEYS[#KEYS])
end
return {1, seq, fresh, surplus, slots, spare}
