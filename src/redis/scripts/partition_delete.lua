#!lua flags=allow-oom
-- partition_delete: remove a partition of a stream that is being deleted. Repeating it changes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed   5 forwards
-- ARGV  1 incarnation
-- Returns {'OK'}
-- Keeps  a newer incarnation's partition is not touched: a deletion that comes late does no harm.
if redis.call('TYPE', KEYS[1]).ok == 'hash' then
    local there = redis.call('HGET', KEYS[1], 'inc')
    if there and there > ARGV[1] then return {'OK'} end
end
redis.call('UNLINK', unpack(KEYS))
return {'OK'}
