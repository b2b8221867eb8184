#!lua flags=no-writes
-- partition_describe: a partition as operators see it and, where a group is named, the group's place in it.
-- Writes nothing. It looks into one entry of the log, of which it answers no more than the head.
--
-- KEYS  1 state   2 log   3 cursors   4 committed
-- ARGV  1 incarnation   2 group ('': none)   3 the group's id
-- Returns {'OK', eras, first retained, next, foreign entries, producers} and, with a group, {..., committed, epoch,
--          ack map, tries, high, since, header}: of the batch with the first message that is neither acknowledged
--          nor gone; '' where there is none, or it is not found
--         {'LOST', what}
local state, log, cursors, committed = unpack(KEYS)
local group = ARGV[2]
local s = redis.call('HMGET', state, 'inc', 'eras', 'first', 'next', 'foreign', 'producers')
local first, next = tonumber(s[3]), tonumber(s[4])
if not s[2] or not first or not next then return {'LOST', 'state'} end
if s[1] ~= ARGV[1] then return {'LOST', 'incarnation'} end
if redis.call('EXISTS', log) == 0 then return {'LOST', 'log'} end
redis.call('XLEN', log) -- an error where it is something else
local answer = {'OK', s[2], s[3], s[4], s[5] or '0', s[6] or '0'}
if group == '' then return answer end

local c = redis.call('HMGET', cursors, group .. ':gid', group .. ':epoch', group .. ':acks', group .. ':tries',
                     group .. ':high', group .. ':since')
local at = tonumber(redis.call('ZSCORE', committed, group))
if c[1] ~= ARGV[3] or not c[2] or not at then return {'LOST', 'cursor'} end

-- It is in the first entry whose last offset is not below it. Entries of somebody else are stepped over, a few: those
-- of no era of ours, past the end, or with anything else than a batch.
local function header(from)
    local listed, era = {}, nil
    for e, start in string.gmatch(s[2], '(%d+):(%d+)') do
        listed[e] = true
        if tonumber(start) <= from then era = e end
    end
    local id = era and string.format('%s-%.0f', era, from)
    for _ = 1, id and 8 or 0 do
        local entry = redis.call('XRANGE', log, id, '+', 'COUNT', 1)[1]
        if not entry then return '' end
        local e, last = string.match(entry[1], '^(%d+)-(%d+)$')
        local fields = entry[2]
        if listed[e] and tonumber(last) < next and #fields == 2 and fields[1] == 'b' then
            return string.sub(fields[2], 1, 24)
        end
        id = '(' .. entry[1]
    end
    return ''
end

for i, v in ipairs({string.format('%.0f', at), c[2], c[3] or '', c[4] or '', c[5] or '', c[6] or '0',
                    header(math.max(at, first))}) do
    answer[6 + i] = v
end
return answer
