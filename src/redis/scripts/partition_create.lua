#!lua flags=allow-oom
-- partition_create: one empty partition. Repeating it changes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed   5 forwards
-- ARGV  1 incarnation   2 messages kept   3 policy
-- Returns {'OK'} or {'FOREIGN'} where a newer incarnation, or something else, is there already
-- Keeps  what an older incarnation left behind is removed, a newer one never touched.
local state, log = KEYS[1], KEYS[2]
local inc = ARGV[1]
local kind = redis.call('TYPE', state).ok
if kind == 'hash' then
    local there = redis.call('HGET', state, 'inc')
    if there == inc then return {'OK'} end
    if not there or there > inc then return {'FOREIGN'} end
elseif redis.call('EXISTS', unpack(KEYS)) > 0 then
    return {'FOREIGN'} -- not even ours
end
redis.call('UNLINK', unpack(KEYS))
-- The only command that makes a stream with nothing in it.
redis.call('XGROUP', 'CREATE', log, 'new', '0-0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', log, 'new')
-- Sealed, see append. Without the right to that there is to be no log either, which would look like somebody else's.
local sealed = redis.pcall('XSETID', log, '18446744073709551615-18446744073709551615')
if sealed.err then
    redis.call('UNLINK', log)
    return sealed
end
-- The server's life, see append.
local life = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or 'unknown'
redis.call('HSET', state, 'inc', inc, 'era', '1', 'eras', '1:0', 'life', life, 'next', '0', 'first', '0', 'low', '',
           'bound', ARGV[2], 'policy', ARGV[3], 'producers', '0', 'prune_at', '64')
return {'OK'}
