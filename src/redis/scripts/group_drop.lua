#!lua flags=allow-oom
-- group_drop: the end of a group's deletion: the cursors are gone, now its own keys. Repeating it changes nothing.
--
-- KEYS  1 groups   2 group   3 leases   4 parts
-- ARGV  1 group   2 the group's id
-- Returns {'OK'}
-- Keeps  another group of that name is not touched.
local there = redis.pcall('HGET', KEYS[2], 'gid')
if type(there) == 'table' then
    if not string.find(there.err, 'WRONGTYPE', 1, true) then return there end
    there = false -- no group's
end
if not there or there == ARGV[2] then
    redis.call('UNLINK', KEYS[2], KEYS[3], KEYS[4])
    redis.call('SREM', KEYS[1], ARGV[1])
end
return {'OK'}
