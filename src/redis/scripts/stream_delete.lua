#!lua flags=allow-oom
-- stream_delete: begin (or continue) the deletion of a stream: from now on it does not exist for anybody. The
-- caller removes the partitions next (partition_delete), then the rest (stream_drop).
--
-- KEYS  1 meta   2 groups
-- Returns {'DELETING', incarnation, partitions, {group ...}} or {'NONE'}
local m = redis.call('HMGET', KEYS[1], 'inc', 'partitions')
if not m[1] then return {'NONE'} end
redis.call('HSET', KEYS[1], 'phase', 'deleting')
return {'DELETING', m[1], m[2], redis.call('SMEMBERS', KEYS[2])}
