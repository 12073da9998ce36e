-- Counts one more thing if it may be done: the generic cell rate algorithm, as in counters.rs. Everything is in microseconds.
--
-- KEYS[1]  the instant at which everything that was done is paid off
-- ARGV[1]  now, from the caller's clock            ARGV[2]  period           ARGV[3]  what one thing costs
--
-- Answers how long to wait: more than nothing if it may not be done.
local now, period, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = tonumber(redis.call('GET', KEYS[1]) or '') or now
local following = math.min(math.max(kept, now), now + period) + cost
local wait = following - now - period
if wait <= 0 then
  -- As text: Lua would write a number of this size in exponential form.
  redis.call('SET', KEYS[1], string.format('%.0f', following), 'PX', math.ceil((following - now) / 1000) + 1000)
end
return wait
