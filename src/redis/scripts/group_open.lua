#!lua flags=allow-oom
-- group_open: find a group, or begin to create it. The caller makes the cursors next (cursor_create, in
-- the partitions' slots) and then calls group_ready; one that dies in between leaves the phase
-- `creating`, which the next one finishes with the same start.
--
-- KEYS  1 meta   2 groups   3 group   4 leases   5 parts
-- ARGV  1 incarnation of the stream   2 group   3 random hex digits for the group's own id, if it is new
--       4 start: 'earliest' | 'latest' | 'offset:N' | 'time:MS'. Whoever makes the cursors goes by the one that is
--       answered, and looks for the time's offset in each partition
-- Returns {'CREATE' | 'READY', id, start} or {'LOST', what} or {'DELETING'}
--         {'DAMAGED', what}  what is stored of it makes no sense
local meta, groups, group = KEYS[1], KEYS[2], KEYS[3]
local m = redis.call('HMGET', meta, 'inc', 'phase')
if m[1] ~= ARGV[1] or m[2] ~= 'ready' then return {'LOST', 'meta'} end
local g = redis.pcall('HMGET', group, 'gid', 'phase', 'start')
if g.err then
    return string.find(g.err, 'WRONGTYPE', 1, true) and {'DAMAGED', 'its hash is of another type'} or g
end
if not g[1] then
    -- A group that was, with its coordinator's state gone: its cursors and epochs would start over.
    if redis.call('SISMEMBER', groups, ARGV[2]) == 1 then return {'LOST', 'group'} end
    -- Ids sort by age, as the incarnations of streams do.
    local time = redis.call('TIME')
    local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    local gid = string.format('%012x', ms) .. string.sub(ARGV[3], 1, 20)
    redis.call('HSET', group, 'gid', gid, 'phase', 'creating', 'start', ARGV[4], 'format', '1',
               'life', string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)') or 'unknown',
               'epoch', '0', 'clock', '0', 'cap', '0',
               'wall', string.format('%.0f', ms))
    redis.call('SADD', groups, ARGV[2])
    return {'CREATE', gid, ARGV[4]}
end
if g[2] == 'deleting' then return {'DELETING'} end
return {g[2] == 'ready' and 'READY' or 'CREATE', g[1], g[3]}
