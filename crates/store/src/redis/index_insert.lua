-- Adds a name to an index and removes a few that have ended, so that an index never grows without bound.
--
-- KEYS[1]  names, all with score 0: byte order     KEYS[2]  the same names, scored with their end in ms
-- ARGV[1]  name                                    ARGV[2]  its end in ms, or '+inf'
-- ARGV[3]  now in ms                               ARGV[4]  life of the keys in ms, '' for ever
local life = redis.call('PTTL', KEYS[2])
redis.call('ZADD', KEYS[1], 0, ARGV[1])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
for _, ended in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[3], 'LIMIT', 0, 10)) do
  redis.call('ZREM', KEYS[1], ended)
  redis.call('ZREM', KEYS[2], ended)
end
for _, key in ipairs(KEYS) do
  if ARGV[4] == '' then
    redis.call('PERSIST', key)
  elseif life ~= -1 then -- -1: there are names in it that never end; -2: it was not there
    redis.call('PEXPIRE', key, math.max(life, tonumber(ARGV[4])))
  end
end
return 1
