#!lua flags=allow-oom
-- cursor_acquire: a new owner of a partition begins: from now on only its commits count.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 group   3 the group's id   4 epoch   5 nonce of the consumer
-- Returns {'OK', eras, committed, first retained, next, ack map, tries, high, note, since}
--                            the last five as cursor_commit takes them; high '': the last owner has handed
--                            over cleanly. Otherwise it may have died with messages in hand, see cursor_commit
--         {'STALE', epoch}   a later owner has begun already, or the coordinator has forgotten its last grants
--         {'LOST', what}
-- Keeps  what the last owner has stored, until the new one commits: should that one die at once, the next finds
--        it again. The epoch of a cursor only grows, and no two consumers ever have the same: a coordinator that lost
--        its last grant with a failover gives that number again, to somebody else.
local state, log, cursors, committed = unpack(KEYS)
local inc, group, gid, epoch = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local s = redis.call('HMGET', state, 'inc', 'eras', 'first', 'next')
if s[1] ~= inc then return {'LOST', s[1] and 'incarnation' or 'state'} end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
redis.call('XLEN', log) -- an error where it is something else
local c = redis.call('HMGET', cursors, group .. ':gid', group .. ':epoch', group .. ':owner',
                     group .. ':acks', group .. ':tries', group .. ':high', group .. ':note',
                     group .. ':since')
local at = redis.call('ZSCORE', committed, group)
if c[1] ~= gid or not at then return {'LOST', 'cursor'} end
local held = tonumber(c[2])
if held > epoch or (held == epoch and c[3] ~= ARGV[5]) then return {'STALE', c[2]} end
if held < epoch then
    redis.call('HSET', cursors, group .. ':epoch', ARGV[4], group .. ':seq', '0',
               group .. ':owner', ARGV[5])
end
return {'OK', s[2], string.format('%.0f', tonumber(at)), s[3], s[4],
        c[4] or '', c[5] or '', c[6] or '', c[7] or '', c[8] or '0'}
