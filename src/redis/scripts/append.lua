#!lua flags=allow-oom
-- append: the guard in front of an XADD. It runs as
--     MULTI; EVALSHA append ...; XADD log NOMKSTREAM <era>-* b <batch>; XSETID log <largest ID>; EXEC
-- and decides whether that XADD happens, so that the payload never passes through Lua. Between appends a log's
-- last ID is the largest there is, after which the server refuses any XADD: it is sealed. To allow this one, the
-- guard sets it to just before the batch's last offset; the XSETID seals again. So whatever keeps the guard from
-- running forbids, also a server that does not know the script. Anything unforeseen forbids too.
--
-- KEYS  1 state   2 log
-- ARGV  1 incarnation   2 era   3 producer id   4 its generation   5 first sequence (from 1)
--       6 messages in the batch; 0: a probe, which only checks the rights, mends the last ID, and tells how things
--         are (the XADD behind it has an ID that is always refused). Of a probe, with 2 and
--       7 the place up to which its caller knows of messages, the last of them of era 2; 0: of none
-- Returns {'OK' | 'DUP', offset of the first message, or -1 where it is no longer known}
--         {'OK', next, eras, generation, sequence}     to a probe; the last two: what is stored of the producer, or 0
--         {'FULL', bound, room}      its unread messages leave room for only so many
--         {'TOOBIG', bound}          more messages than the partition may ever hold
--         {'GAP', last sequence}     a batch before this one is missing
--         {'STALE', generation}      the producer has restarted its sequence since
--         {'ERA', era}               the log is in another era: probe, and send it again under that one
--         {'LOST', what}             the state or the log is missing, or another incarnation's
--         {'BROKEN', what}           something unforeseen, in the server's words
-- Keeps  next = last offset of the log + 1; offsets dense; each (producer, sequence) stored once; no offset is given
--        twice in one era, also where the server lost some.
--
-- Eras. A server that was restarted, or promoted, may have lost the end of the log, and what comes next gets the offsets
-- of what was lost. So it gets them in a new era. When that is the case the server itself tells, by its replication
-- id: that is another one after each restart and each promotion, and the state has the one under which was appended
-- last. A probe also raises the era where its caller knows of messages that there are not.
-- An era's number is the time when it began (ms), as a larger one than all before may have been lost too.
--
-- A producer's record: "generation sequence used n:last n:last ...": its newest sequence, when it
-- was used (ms), and its last batches, newest first, as message count and last offset.
--
-- Lines that begin with "--forward:" are those of another script, append_forward: see forward.lua.
--
-- Memory: the XADD is refused by the server when memory is full, and the whole transaction with it;
-- so this script need not be, and must not: it has to be able to forbid.
--
-- Cost. Every append runs it, so the usual way through guard() calls nothing and makes no text or table that it can do
-- without. A number that is an argument is written by the server, in all its digits, for less than by n2s.

local state, log = KEYS[1], KEYS[2]
-- A producer may have five batches under way in one partition: four are kept beside a new one.
local FOUR_BATCHES = '^ [^ ]+ [^ ]+ [^ ]+ [^ ]+'
local IDLE_MS = 3600000 -- a producer not used for so long is forgotten
local PRODUCERS_MAX = 10000
local LARGEST = '18446744073709551615-18446744073709551615'

local function n2s(n) return string.format('%.0f', n) end

local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Offset of the first message of the batch that ended at or before sequence `seq`.
local function recorded(history, seq, first, n)
    local last = seq
    for count, offset in string.gmatch(history, '(%d+):(%d+)') do
        count = tonumber(count)
        if last - count + 1 == first and count == n then
            return n2s(tonumber(offset) - n + 1)
        end
        last = last - count
    end
    return '-1'
end

-- Entries above `last`, put there by somebody's own XADD, would make ours impossible. They
-- were never part of the log: take them out, count them.
local function remove_foreign(era, last)
    local from = last >= 0 and '(' .. era .. '-' .. n2s(last) or '-'
    local removed = 0
    repeat
        local ids = {}
        for i, entry in ipairs(redis.call('XRANGE', log, from, '+', 'COUNT', 500)) do
            ids[i] = entry[1]
        end
        if #ids > 0 then
            removed = removed + redis.call('XDEL', log, unpack(ids))
        end
    until #ids == 0
    -- Valkey does not set a last ID below the largest deleted one: lower that one first.
    local top = redis.call('XINFO', 'STREAM', log)
    for i = 1, #top, 2 do
        if top[i] == 'last-generated-id' then
            redis.call('XSETID', log, top[i + 1], 'ENTRIESADDED', n2s(last + 1), 'MAXDELETEDID', '0-1')
        end
    end
    redis.call('HINCRBY', state, 'foreign', removed)
end

-- Make the log's last ID the one of its last message, which is before `next`. Returns what is missing.
local function set_last(era, next)
    -- Not 0-0: Valkey refuses what is below the largest deleted ID, which is never set back to nothing.
    local id = next > 0 and era .. '-' .. n2s(next - 1) or '0-1'
    local r = redis.pcall('XSETID', log, id, 'ENTRIESADDED', next, 'MAXDELETEDID', '0-0')
    if r.err then
        if string.find(r.err, 'no such key', 1, true) then
            return 'log'
        end
        if not string.find(r.err, 'smaller', 1, true) then
            error(r.err, 0)
        end
        remove_foreign(era, next - 1)
        redis.call('XSETID', log, id, 'ENTRIESADDED', next, 'MAXDELETEDID', '0-0')
    end
    return nil
end

-- Let the next XADD <era>-* get the ID <era>-<last>. Only the true last ID finds a foreign entry that
-- lies between it and the new one, so it is set first.
local function open(era, last, next)
    local missing = set_last(era, next)
    if not missing and last > next then
        redis.call('XSETID', log, era .. '-' .. n2s(last - 1), 'ENTRIESADDED', n2s(last))
    end
    return missing
end

-- Where the era of `offset` is not the newest one.
local function era_of(eras, offset)
    local found
    for era, start in string.gmatch(eras, '(%d+):(%d+)') do
        if not found or tonumber(start) <= offset then found = era end
    end
    return found
end

-- The server's life: another one means that what is here may be older than what was acknowledged.
local function server_life()
    local info = redis.call('INFO', 'replication')
    local _, at = string.find(info, 'master_replid:', 1, true)
    return at and string.sub(info, at + 1, at + 40) or 'unknown'
end

-- Begin a new era at `next`, larger than `known`. Those of which nothing is retained any more, and one in which
-- nothing was stored, leave the list. The log is mended first: what is past its end goes, also where it has an ID
-- below the new era.
local function raise(s, life, next, known)
    local missing = set_last(s[2], next)
    if missing then return missing end
    local kept, list, n = tonumber(s[4]), {}, 0
    for era, start in string.gmatch(s[9], '(%d+):(%d+)') do
        start = tonumber(start)
        if n > 0 and start <= kept then n = n - 1 end
        if start < next then
            n = n + 1
            list[n] = era .. ':' .. n2s(start)
        end
    end
    s[2] = n2s(math.max(now_ms(), tonumber(s[2]) + 1, known + 1))
    list[n + 1] = s[2] .. ':' .. n2s(next)
    s[9] = table.concat(list, ' ', 1, n + 1)
    s[10] = life
    redis.call('HSET', state, 'era', s[2], 'eras', s[9], 'life', life)
    return nil
end

-- A producer comes: forget those that have been idle for long, once their number has doubled, so
-- that it is amortised O(1).
local function prune(now)
    local fields, kept = redis.call('HGETALL', state), {}
    for i = 1, #fields, 2 do
        if string.sub(fields[i], 1, 2) == 'p:' then
            local used = tonumber(string.match(fields[i + 1], '^%d+ %d+ (%d+)')) or 0
            kept[#kept + 1] = {fields[i], used}
        end
    end
    table.sort(kept, function(a, b) return a[2] > b[2] end)
    while #kept > 0 and (#kept >= PRODUCERS_MAX or kept[#kept][2] < now - IDLE_MS) do
        redis.call('HDEL', state, kept[#kept][1])
        kept[#kept] = nil
    end
    redis.call('HSET', state, 'producers', #kept + 1, 'prune_at', math.max(64, 2 * #kept))
end

local function need(command, ...)
    if not redis.acl_check_cmd(command, ...) then error('NOPERM this user has no right to ' .. command, 0) end
end

-- What an append may come to need, beyond what every one does.
local function check_rights()
    need('XTRIM', log, 'MINID', '0')
    need('XRANGE', log, '-', '+')
    need('XDEL', log, '0-1')
    need('XINFO', 'STREAM', log)
    need('HINCRBY', state, 'producers', '1')
    need('HGETALL', state)
    need('HDEL', state, 'p:')
    need('INFO', 'replication')
    need('EVALSHA', '', '0')
end

-- Does the caller know of messages that there are not?
local function fell_behind(s, era, next)
    local known = tonumber(ARGV[7] or '0')
    return known > 0 and (era > tonumber(s[2]) or (era == tonumber(s[2]) and known > next))
end

--forward: all
local function probe(s, next)
    local missing = set_last(s[2], next)
    if missing then return {'LOST', missing} end
    check_rights()
    --forward: need_forward_rights()
    local era = tonumber(ARGV[2])
    if fell_behind(s, era, next) then missing = raise(s, s[10], next, era) end
    if missing then return {'LOST', missing} end
    redis.call('HSET', state, 'next', s[3])
    local gen, seq = string.match(s[8] or '0 0', '^(%d+) (%d+)')
    return {'OK', s[3], s[9], gen, seq}
end

local function guard()
    local inc, era, pid = ARGV[1], ARGV[2], ARGV[3]
    local gen, first, n = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
    local s = redis.call('HMGET', state, 'inc', 'era', 'next', 'first', 'low', 'bound', 'policy',
                         'p:' .. pid, 'eras', 'life')
    if not s[1] then return {'LOST', 'state'} end
    if s[1] ~= inc then return {'LOST', 'incarnation'} end
    local next, kept, bound = tonumber(s[3]), tonumber(s[4]), tonumber(s[6])
    local life = server_life()
    if life ~= s[10] then
        local missing = raise(s, life, next, 0)
        if missing then return {'LOST', missing} end
    end
    if n == 0 then return probe(s, next) end

    local seq, history = 0, ''
    if s[8] then
        local g, q, h = string.match(s[8], '^(%d+) (%d+) %d+(.*)$')
        g = tonumber(g)
        if gen < g then return {'STALE', n2s(g)} end
        if gen == g then seq, history = tonumber(q), h end
    end
    if first <= seq then return {'DUP', recorded(history, seq, first, n)} end
    if first > seq + 1 then return {'GAP', n2s(seq)} end
    if s[2] ~= era then return {'ERA', s[2]} end
    --forward: need_forward_rights()
    --forward: local holding = held(n)
    --forward: if holding then return holding end

    if n > bound then return {'TOOBIG', s[6]} end
    if s[7] ~= 'drop-oldest' then
        local unread = s[5] ~= '' and tonumber(s[5]) or kept
        if next + n - unread > bound then return {'FULL', s[6], n2s(bound - next + unread)} end
    end

    -- It was asked when the XADD was queued, but may have been withdrawn since. Of the XSETID that seals behind it
    -- open() finds out, which needs the same right to the same key.
    need('XADD', log, 'NOMKSTREAM', era .. '-*', 'b', '')
    local now = now_ms()
    local missing = open(era, next + n - 1, next)
    if missing then return {'LOST', missing} end
    if next + n - kept > bound then
        kept = next + n - bound
        redis.call('XTRIM', log, 'MINID', era_of(s[9], kept) .. '-' .. n2s(kept))
    end
    if not s[8] then
        local producers = redis.call('HMGET', state, 'producers', 'prune_at')
        if tonumber(producers[1]) + 1 >= tonumber(producers[2]) then
            prune(now)
        else
            redis.call('HINCRBY', state, 'producers', 1)
        end
    end
    -- Last: what fails before it forbids the XADD, and must not have moved `next`.
    local past = string.match(history, FOUR_BATCHES) or history
    --forward: remember()
    redis.call('HSET', state, 'next', next + n, 'first', kept, 'p:' .. pid,
               string.format('%.0f %.0f %.0f %.0f:%.0f', gen, first + n - 1, now, n, next + n - 1) .. past)
    return {'OK', s[3]}
end

local ok, result = pcall(guard)
if not ok then
    result = {'BROKEN', type(result) == 'table' and tostring(result.err) or tostring(result)}
end
if result[1] ~= 'OK' or ARGV[6] == '0' then
    -- Where there is no log, or something else in its place, the XADD has nothing to write to. Where the
    -- right to XSETID was withdrawn, an entry with that ID does the same, and need not stay.
    local sealed = redis.pcall('XSETID', log, LARGEST)
    if sealed.err then
        redis.pcall('XADD', log, 'NOMKSTREAM', LARGEST, 'seal', '')
        redis.pcall('XDEL', log, LARGEST)
    end
end
return result
