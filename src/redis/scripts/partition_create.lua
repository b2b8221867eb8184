#!lua flags=allow-oom
-- partition_create: one empty partition. Repeating it changes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 messages kept   3 policy
-- Returns {'OK'} or {'FOREIGN'} where one of the keys holds something else already
local state, log, cursors, committed = unpack(KEYS)
if redis.call('TYPE', state).ok == 'hash' and redis.call('HGET', state, 'inc') == ARGV[1] then
    return {'OK'}
end
if redis.call('EXISTS', state, log, cursors, committed) > 0 then return {'FOREIGN'} end
-- The only command that makes a stream with nothing in it.
redis.call('XGROUP', 'CREATE', log, 'new', '0-0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', log, 'new')
redis.call('HSET', state, 'inc', ARGV[1], 'era', '1', 'next', '0', 'first', '0', 'low', '',
           'bound', ARGV[2], 'policy', ARGV[3], 'producers', '0', 'prune_at', '64')
return {'OK'}
