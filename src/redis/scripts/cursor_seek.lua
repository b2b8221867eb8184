#!lua flags=allow-oom
-- cursor_seek: move a group's place in one partition, forwards or back. What it had acknowledged past the new
-- place, what had failed there and what was in hand is forgotten.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 group   3 the group's id   4 epoch, from group_seek 'begin'   5 offset, cut to what the
--       partition holds
-- Returns {'OK', committed before, committed now}
--         {'STALE', epoch}   an owner has begun under this epoch or a later one: begin again above it
--         {'LOST', what}
-- Keeps  the epoch of a cursor only grows, so whoever owned the partition is fenced, and so is a copy of this call
--        that comes late: it can move nothing back under an owner who has read on from here. low as in cursor_create.
--
-- Should the caller die right after this: the owner's next commit is refused, it hands the partition back and is
-- granted it anew, under an epoch above this one, and reads on from the new place.
local state, log, cursors, committed = unpack(KEYS)
local inc, group, gid, epoch, offset = unpack(ARGV)
local s = redis.call('HMGET', state, 'inc', 'era', 'first', 'next')
if s[1] ~= inc then return {'LOST', s[1] and 'incarnation' or 'state'} end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
redis.call('XLEN', log) -- an error where it is something else
local c = redis.call('HMGET', cursors, group .. ':gid', group .. ':epoch')
local before = redis.call('ZSCORE', committed, group)
if c[1] ~= gid or not before then return {'LOST', 'cursor'} end
if tonumber(c[2]) >= tonumber(epoch) then return {'STALE', c[2]} end
local at = string.format('%.0f', math.min(math.max(tonumber(offset), tonumber(s[3])), tonumber(s[4])))
-- Nobody owns this epoch, and so nobody commits under it.
redis.call('HSET', cursors, group .. ':epoch', epoch, group .. ':owner', '', group .. ':seq', '0',
           group .. ':acks', '', group .. ':tries', '', group .. ':high', '', group .. ':note', '',
           group .. ':since', epoch)
redis.call('ZADD', committed, at, group)
local low = redis.call('ZRANGE', committed, 0, 0, 'WITHSCORES')
redis.call('HSET', state, 'low', string.format('%.0f', tonumber(low[2])))
local id = s[2] .. '-18446744073709551615' -- says nothing, see cursor_commit
local set = redis.pcall('XGROUP', 'SETID', log, group, id, 'ENTRIESREAD', at)
if set.err then redis.pcall('XGROUP', 'CREATE', log, group, id, 'ENTRIESREAD', at) end
return {'OK', string.format('%.0f', tonumber(before)), at}
