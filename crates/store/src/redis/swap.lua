-- The compare-and-swap of one record. A script runs as one step, so a lost connection leaves either all of it or nothing.
--
-- KEYS[1]  the record: "<end in ms, empty for never>:<bytes>"
-- ARGV[1]  what must be stored, '' for nothing     ARGV[2]  what is stored from now on, '' for nothing
-- ARGV[3]  now in ms, from the caller's clock      ARGV[4]  life of the key in ms, '' for ever
-- ARGV[5]  channel                                 ARGV[6]  event for it, '' for none
local stored = redis.call('GET', KEYS[1])
if stored then
  local finish = string.match(stored, '^(%-?%d*):')
  if not finish then
    return redis.error_reply('CORRUPT it does not begin with the end of its life; something else wrote it')
  end
  if finish ~= '' and tonumber(finish) <= tonumber(ARGV[3]) then
    stored = false
  end
end
if (stored or '') ~= ARGV[1] then
  return 0
end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
elseif ARGV[4] == '' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[4])
end
if ARGV[6] ~= '' then
  redis.call('PUBLISH', ARGV[5], ARGV[6])
end
return 1
