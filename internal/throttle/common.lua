-- Shared head of the scripts. Every script is called with KEYS book, cool, news, ...
-- and one JSON document. Times are milliseconds of Redis's clock; tests bring their own.
local req = cjson.decode(ARGV[1])
local now = req.now
if not now then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function int(n) return string.format('%d', n) end

local function cooling_till(scope)
  return tonumber(redis.call('ZSCORE', KEYS[2], scope) or 0)
end

-- A mailbox's permits are kept until the last of them expires.
local function last(key)
  local latest = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')[2]
  if latest then redis.call('PEXPIRE', key, int(math.max(1, tonumber(latest) - now))) end
end

-- The latest end of a cooldown wins; each change gets the next number.
local function cool(scope, till)
  if till > math.max(now, cooling_till(scope)) then
    redis.call('ZADD', KEYS[2], till, scope)
    redis.call('ZADD', KEYS[3], redis.call('HINCRBY', KEYS[1], 'seq', 1), scope)
  end
end

-- Cooldowns set since the caller last asked, and the number to ask from next time.
local function news()
  local seq, seen, list = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), req.seen, {}
  if seen > seq then seen = 0 end -- a lower number is another book
  if seq > seen then
    local fresh = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. int(seen), '+inf', 'WITHSCORES', 'LIMIT', 0, 200)
    for i = 1, #fresh, 2 do
      local till = cooling_till(fresh[i])
      if till > now then
        list[#list + 1] = fresh[i]
        list[#list + 1] = till - now
      end
    end
    if #fresh == 400 then seq = tonumber(fresh[400]) end
  end
  return seq, list
end


-- The pace of a bucket, from its hash f: the share of its documented rate that is in
-- use. 'share' is what throttled answers left of it at 'fell', and grows back by so
-- much per ms; 'brake' holds until 'till', because headers said how much is left.
local function share(f, grow)
  if not f.share then return 1 end
  return math.min(1, f.share + math.max(0, now - f.fell) * grow)
end

local function pace(f, grow)
  local p = share(f, grow)
  if f.till and f.till > now then p = math.min(p, f.brake) end
  return p
end

-- How long until a pace is whole again, in ms.
local function recovers(f, grow)
  local left = (1 - share(f, grow)) / grow
  if f.till then left = math.max(left, f.till - now) end
  return left
end

-- The list of paces: accounts that are slowed, by when they are whole again. It is what
-- the mirror reads; of too many, those that take longest stay in it.
local function list_pace(paces, key, f, grow)
  local left = recovers(f, grow)
  if left > 0 then redis.call('ZADD', paces, int(now + left), key) end
end

local function trim_paces(paces)
  redis.call('ZREMRANGEBYSCORE', paces, '-inf', int(now))
  redis.call('ZREMRANGEBYRANK', paces, 0, int(-req.paces - 1))
  last(paces)
end
