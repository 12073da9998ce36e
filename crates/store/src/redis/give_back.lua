-- Takes off again what admit.lua has counted. Everything is in microseconds.
--
-- KEYS[1]  the instant at which everything that was done is paid off
-- ARGV[1]  now, from the caller's clock            ARGV[2]  what time has not paid of the thing
local now, unpaid = tonumber(ARGV[1]), tonumber(ARGV[2])
local kept = tonumber(redis.call('GET', KEYS[1]) or '') or now
local left = kept - unpaid
if left > now then
  redis.call('SET', KEYS[1], string.format('%.0f', left), 'PX', math.ceil((left - now) / 1000) + 1000)
else
  redis.call('DEL', KEYS[1])
end
return redis.status_reply('OK')
