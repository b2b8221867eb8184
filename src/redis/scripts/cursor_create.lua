#!lua flags=allow-oom
-- cursor_create: a new group's place in one partition. Repeating it changes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 group   3 the group's id   4 'earliest' | 'latest' | an offset, cut to what the
--       partition holds
-- Returns {'OK'} or {'FOREIGN'} (a newer group of that name has its cursor here) or {'LOST', what}
-- Keeps  low = the smallest committed offset of all groups: what append may not drop.
local state, log, cursors, committed = unpack(KEYS)
local inc, group, gid, start = unpack(ARGV)
local s = redis.call('HMGET', state, 'inc', 'era', 'first', 'next')
if s[1] ~= inc then return {'LOST', s[1] and 'incarnation' or 'state'} end
local have = redis.call('HGET', cursors, group .. ':gid')
if have == gid then return {'OK'} end
if have and have > gid then return {'FOREIGN'} end -- else: what an older one left
local at = s[3]
if start == 'latest' then
    at = s[4]
elseif start ~= 'earliest' then
    local wanted = tonumber(string.match(start, '^%d+$'))
    at = string.format('%.0f', math.min(math.max(wanted, tonumber(s[3])), tonumber(s[4])))
end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
-- The native group is there so that every tool sees this one and its exact lag; it is not what we go by. Its
-- last ID says nothing (see cursor_commit).
local id = s[2] .. '-18446744073709551615'
local made = redis.pcall('XGROUP', 'CREATE', log, group, id, 'ENTRIESREAD', at)
if made.err then redis.pcall('XGROUP', 'SETID', log, group, id, 'ENTRIESREAD', at) end
redis.call('ZADD', committed, at, group)
redis.call('HSET', cursors, group .. ':gid', gid, group .. ':epoch', '0', group .. ':seq', '0',
           group .. ':owner', '', group .. ':acks', '', group .. ':tries', '', group .. ':high', '',
           group .. ':note', '', group .. ':since', '0')
local low = redis.call('ZRANGE', committed, 0, 0, 'WITHSCORES')
redis.call('HSET', state, 'low', string.format('%.0f', tonumber(low[2])))
return {'OK'}
