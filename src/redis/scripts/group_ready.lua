#!lua flags=allow-oom
-- group_ready: all cursors exist; members may join.
--
-- KEYS  1 group
-- ARGV  1 the group's id
-- Returns {'OK'} or {'GONE'} where it was deleted meanwhile
local g = redis.call('HMGET', KEYS[1], 'gid', 'phase')
if g[1] ~= ARGV[1] or g[2] == 'deleting' then return {'GONE'} end
redis.call('HSET', KEYS[1], 'phase', 'ready')
return {'OK'}
