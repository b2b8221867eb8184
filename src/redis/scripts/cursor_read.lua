#!lua flags=no-writes
-- cursor_read: a partition's ends and, where a group is named, its place in it. Writes nothing.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation ('': any)   2 group ('': none)
-- Returns {'OK', eras, first retained, next} and, with a group, {..., committed, epoch, ack map, tries, high,
--                            note, since, owner's nonce}, as cursor_acquire
--         {'LOST', what}
local state, log, cursors, committed = unpack(KEYS)
local group = ARGV[2]
local s = redis.call('HMGET', state, 'inc', 'eras', 'first', 'next')
if not s[1] then return {'LOST', 'state'} end
if ARGV[1] ~= '' and s[1] ~= ARGV[1] then return {'LOST', 'incarnation'} end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
redis.call('XLEN', log) -- an error where it is something else
local answer = {'OK', s[2], s[3], s[4]}
if group ~= '' then
    local c = redis.call('HMGET', cursors, group .. ':epoch', group .. ':acks', group .. ':tries',
                         group .. ':high', group .. ':note', group .. ':since',
                         group .. ':owner')
    local at = redis.call('ZSCORE', committed, group)
    if not c[1] or not at then return {'LOST', 'cursor'} end
    answer[5] = string.format('%.0f', tonumber(at))
    for i = 1, 7 do
        answer[5 + i] = c[i] or (i == 6 and '0' or '')
    end
end
return answer
