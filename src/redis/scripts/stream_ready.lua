#!lua flags=allow-oom
-- stream_ready: all partitions exist; producers and consumers may come.
--
-- KEYS  1 meta
-- ARGV  1 incarnation
-- Returns {'OK'} or {'GONE'} where it was deleted meanwhile
local m = redis.call('HMGET', KEYS[1], 'inc', 'phase')
if m[1] ~= ARGV[1] or m[2] == 'deleting' then return {'GONE'} end
redis.call('HSET', KEYS[1], 'phase', 'ready')
return {'OK'}
