-- Removes a name (ARGV[1]) from both halves of an index (KEYS[1], KEYS[2]).
redis.call('ZREM', KEYS[1], ARGV[1])
return redis.call('ZREM', KEYS[2], ARGV[1])
