-- Names that have not ended, in byte order.
--
-- KEYS[1]  names, all with score 0                 KEYS[2]  the same names, scored with their end in ms
-- ARGV[1]  where to begin: '-' or '(name'          ARGV[2]  how many           ARGV[3]  now in ms
local from, limit, now = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local page_size = math.max(limit, 100)
local found = {}
while #found < limit do
  local page = redis.call('ZRANGEBYLEX', KEYS[1], from, '+', 'LIMIT', 0, page_size)
  for _, name in ipairs(page) do
    local finish = redis.call('ZSCORE', KEYS[2], name)
    if finish and tonumber(finish) > now and #found < limit then
      found[#found + 1] = name
    end
  end
  if #page < page_size then
    break
  end
  from = '(' .. page[#page]
end
return found
