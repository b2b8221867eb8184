#!lua flags=allow-oom
-- cursor_commit: store what a partition's owner has acknowledged, what has failed, and what it is about to
-- deliver.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 group   3 the group's id   4 epoch   5 sequence of this commit in the epoch, from 1
--       6 offset of the first message not acknowledged   7 ack map of what is acknowledged past it
--       8 tries: what has failed, and how often   9 high: all below it may be delivered from now on; '': nothing
--       is in hand any more   10 note: bytes of the group's own   11 nonce of the consumer
-- Returns {'OK'}
--         {'OLD'}            a later commit of the same owner is stored already: this one came late
--         {'FENCED', epoch}  the partition has another owner
--         {'AHEAD', next}    the log ends before it: the server lost messages
--         {'LOST', what}
-- Keeps  only the consumer that has begun under the current epoch commits (a failover that lost the last grants
--        can make the coordinator give one number to two); the committed offset never falls; low as in cursor_create.
local state, log, cursors, committed = unpack(KEYS)
local inc, group, gid, epoch, seq, at, acks, tries, high, note, nonce = unpack(ARGV)
local s = redis.call('HMGET', state, 'inc', 'era', 'next', 'low')
if s[1] ~= inc then return {'LOST', s[1] and 'incarnation' or 'state'} end
local c = redis.call('HMGET', cursors, group .. ':gid', group .. ':epoch', group .. ':seq',
                     group .. ':owner')
local before = redis.call('ZSCORE', committed, group)
if c[1] ~= gid or not before then return {'LOST', 'cursor'} end
if c[2] ~= epoch or c[4] ~= nonce then return {'FENCED', c[2]} end
before = tonumber(before)
if tonumber(seq) <= tonumber(c[3]) or tonumber(at) < before then return {'OLD'} end
if tonumber(at) > tonumber(s[3]) then return {'AHEAD', s[3]} end
-- All of them or none: the tries and the ack map begin at this `committed`.
redis.call('HSET', cursors, group .. ':seq', seq, group .. ':acks', acks, group .. ':tries', tries,
           group .. ':high', high, group .. ':note', note)
if tonumber(at) > before then
    redis.call('ZADD', committed, at, group)
    if s[4] == '' or tonumber(s[4]) == before then
        local low = redis.call('ZRANGE', committed, 0, 0, 'WITHSCORES')
        redis.call('HSET', state, 'low', string.format('%.0f', tonumber(low[2])))
    end
    -- Its last ID is past any entry and says nothing; entries-read tells the place. Redis 8 counts entries,
    -- which may hold many messages, where the last ID is before the first entry.
    local id = s[2] .. '-18446744073709551615'
    local set = redis.pcall('XGROUP', 'SETID', log, group, id, 'ENTRIESREAD', at)
    if set.err then redis.pcall('XGROUP', 'CREATE', log, group, id, 'ENTRIESREAD', at) end
end
return {'OK'}
