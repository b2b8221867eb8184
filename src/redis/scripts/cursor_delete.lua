#!lua flags=allow-oom
-- cursor_delete: remove a deleted group's place in one partition. Repeating it changes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 group   2 the group's id
-- Returns {'OK'}
-- Keeps  low, as cursor_create; a newer group's cursor is not touched.
local state, log, cursors, committed = unpack(KEYS)
local group = ARGV[1]
local have = redis.call('HGET', cursors, group .. ':gid')
if have and have > ARGV[2] then return {'OK'} end
redis.pcall('XGROUP', 'DESTROY', log, group)
redis.call('ZREM', committed, group)
redis.call('HDEL', cursors, group .. ':gid', group .. ':epoch', group .. ':seq', group .. ':owner',
           group .. ':acks', group .. ':tries', group .. ':high', group .. ':note',
           group .. ':since')
if redis.call('EXISTS', state) == 1 then
    local low = redis.call('ZRANGE', committed, 0, 0, 'WITHSCORES')
    redis.call('HSET', state, 'low', low[2] and string.format('%.0f', tonumber(low[2])) or '')
end
return {'OK'}
