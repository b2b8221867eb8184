#!lua flags=no-writes
-- partition_lag: a partition's ends, and where some groups are in it. Writes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2.. a group and its id, for each
-- Returns {'OK', first retained, next, {committed or '' where the group has no place here, for each}}
--         {'LOST', what}
local state, log, cursors, committed = unpack(KEYS)
local s = redis.call('HMGET', state, 'inc', 'first', 'next')
if not s[2] or not s[3] then return {'LOST', 'state'} end
if s[1] ~= ARGV[1] then return {'LOST', 'incarnation'} end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
redis.call('XLEN', log) -- an error where it is something else
local names, fields, places = {}, {}, {}
for i = 2, #ARGV, 2 do
    names[#names + 1] = ARGV[i]
    fields[#fields + 1] = ARGV[i] .. ':gid'
end
if #names > 0 then
    local at = redis.call('ZMSCORE', committed, unpack(names))
    local gids = redis.call('HMGET', cursors, unpack(fields))
    for i = 1, #names do
        places[i] = at[i] and gids[i] == ARGV[2 * i + 1] and string.format('%.0f', at[i]) or ''
    end
end
return {'OK', s[2], s[3], places}
