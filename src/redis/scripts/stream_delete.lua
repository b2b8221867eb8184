#!lua flags=allow-oom
-- stream_delete: begin (or continue) the deletion of a stream: from now on it does not exist for anybody. The
-- caller removes the keys of the partitions and groups, and the meta last.
--
-- KEYS  1 meta   2 groups
-- Returns {'DELETING', partitions, group ...} or {'NONE'}
local partitions = redis.call('HGET', KEYS[1], 'partitions')
if not partitions then return {'NONE'} end
redis.call('HSET', KEYS[1], 'phase', 'deleting')
local answer = {'DELETING', partitions}
for _, group in ipairs(redis.call('SMEMBERS', KEYS[2])) do answer[#answer + 1] = group end
return answer
