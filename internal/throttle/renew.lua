-- Gives permits a new life: those that are still there and have not expired. What was
-- given back, or has expired and may be another's by now, is never added again.
--
-- KEYS: book, cool, news, then one mailbox's permits for each of req.held.
-- ARGV[1]: the request as JSON. Answers {the IDs that are no longer there}.
local HEAD = 3
local lost = {}
for i, ids in ipairs(req.held) do
  local key = KEYS[HEAD + i]
  for _, id in ipairs(ids) do
    if tonumber(redis.call('ZSCORE', key, id) or 0) > now then
      redis.call('ZADD', key, 'XX', now + req.ttl, id)
    else
      lost[#lost + 1] = id
    end
  end
  last(key)
end
return {lost}
