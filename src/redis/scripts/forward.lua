-- forward: what the guard of an append does besides where the batch holds outputs: messages that each result
-- from a message of some input, and are to be stored once, however often that one is handled, and by whom.
-- No script of its own: append_forward is append.lua with all of this at its line "--forward: all", and with
-- its other lines that begin with "--forward:" as code.
--
-- KEYS  3 forwards
-- ARGV  7 ...  where the messages come from, in their order; for each run of messages with the same: input, epoch
--       of its owner (16 digits), its committed offset (16 digits), number of messages, and for each of these
--       "offset:index:crc", 16 digits, 10 digits, 8 hex digits; the index counts the outputs of one offset
-- Returns {'HELD', stored, fenced, differ}: the numbers of messages, from 0, with commas between them, for which
--         nothing of the batch is stored. Each is in the first that is so:
--         fenced   its input has another owner, with a larger epoch
--         stored   it was stored before; or this owner has committed its offset, and so nobody handles that any
--                  more
--         differ   it is not what was stored before in its place: the crc is another
--         fenced   it is in the batch once more, further on: there from a later attempt, which counts
-- Keeps  each output of an input is stored once; forwards has it as long as it may come again.
--
-- forwards is a sorted set, all scores 0, in the order of the members' bytes:
--
--     f.g1.0!0000000000000007:0000000000000040                an input: its largest epoch, that one's floor
--     f.g1.0:0000000000000041:0000000000:1c291ca3             an output that is stored
--     f.g1.0:0000000000000041:0000000001:89f3b6d0
--
-- The floor is the largest committed offset that came with an output of this epoch that was stored. With it
-- all outputs of lower offsets go. Why they may be forgotten: an offset is committed once it is settled, and
-- settled once its outputs are stored, so what still comes from below is a copy. Of a smaller epoch it is
-- fenced. Of the same epoch there may be one as well: a batch on a connection that was cut, which was held when
-- it came again, so that its numbers were never used, and which the server gets to only now. The floor refuses
-- it. And so
--
--     a batch that was held once is held for ever,
--
-- since an output that is stored is known until the floor passes it, the floor only rises within an epoch, and
-- the next epoch fences. No owner can let go what the next one will ask for: a committed offset is sent here only
-- once a commit has stored it, and the next owner begins where the last commit was.
--
-- A floor counts for its own epoch alone. A later owner comes from below it only where the input's server has
-- lost data: commits, and then an output may be stored twice; or messages, and then the offsets are those of
-- others by now, whose outputs must not be taken for stored.
--
-- What is held moves nothing. And all is checked before anything is written, as an error undoes nothing: a
-- member whose message is not stored would be a lost output.

local forwards = KEYS[3]
local inputs = {}  -- name -> what is known of it, and what the batch makes of it
local outputs = {} -- the batch's members

local function digits(n) return string.format('%016.0f', n) end

local function one_of(from, to)
    return redis.call('ZRANGE', forwards, from, to, 'BYLEX', 'LIMIT', '0', '1')[1]
end

local function need_forward_rights()
    one_of('-', '+') -- an error where it is something else
    need('ZADD', forwards, '0', '0')
    need('ZREM', forwards, '0')
    need('ZREMRANGEBYLEX', forwards, '-', '(0')
    need('HSET', state, 'next', '0')
end

local function input_of(name)
    if not inputs[name] then
        local member = one_of('[' .. name .. '!', '(' .. name .. '"')
        local epoch, floor = string.match(member or name .. '!0:0', '!(%d+):(%d+)$')
        epoch, floor = tonumber(epoch), tonumber(floor)
        inputs[name] = {member = member, of = epoch, floor = floor, epoch = epoch, base = floor}
    end
    return inputs[name]
end

-- The texts of a run, taken apart; and is there anything at all of their offsets? Mostly not, which saves
-- asking for each.
local function read_run(name, at, count)
    local run, from, to = {}, math.huge, 0
    for i = at, at + count - 1 do
        local offset, index = string.match(ARGV[i], '^(%d+):(%d+):%x+$')
        if #offset ~= 16 or #index ~= 10 or #ARGV[i] ~= 36 then error('forward: ' .. ARGV[i], 0) end
        local number = tonumber(offset)
        run[#run + 1] = {member = name .. ':' .. ARGV[i], offset = number,
                         prefix = name .. ':' .. offset .. ':' .. index .. ':'}
        from, to = math.min(from, number), math.max(to, number)
    end
    return run, one_of('[' .. name .. ':' .. digits(from), '(' .. name .. ':' .. digits(to) .. ';')
end

-- What keeps this one from being stored? nil: nothing.
local function fate_of(output, input, epoch, any)
    if epoch < input.epoch then return 'fenced' end
    if epoch == input.of and output.offset < input.floor then return 'stored' end
    local there = any and one_of('[' .. output.prefix, '(' .. output.prefix .. 'g')
    if there then return there == output.member and 'stored' or 'differ' end
    return nil
end

-- The answer that forbids, or nil.
local function held(n)
    local fates, lists, places = {}, {stored = {}, fenced = {}, differ = {}}, {}
    local at, number, free = 7, 0, true
    while number < n do
        local name, epoch, base = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
        local count = tonumber(ARGV[at + 3])
        local input, run, any = input_of(name), read_run(name, at + 4, count)
        for _, output in ipairs(run) do
            local fate, twin = fate_of(output, input, epoch, any), places[output.prefix]
            if not fate then
                if twin then fates[twin], free = 'fenced', false end
                places[output.prefix] = number
                input.base = epoch > input.epoch and base or math.max(input.base, base)
                input.epoch = epoch
                outputs[#outputs + 1] = output.member
            end
            fates[number], free = fate, free and not fate
            number = number + 1
        end
        at = at + 4 + count
    end
    if number ~= n or at ~= #ARGV + 1 then error('forward: not ' .. n .. ' messages', 0) end
    if free then return nil end
    for i = 0, n - 1 do
        if fates[i] then table.insert(lists[fates[i]], i) end
    end
    return {'HELD', table.concat(lists.stored, ','), table.concat(lists.fenced, ','),
            table.concat(lists.differ, ',')}
end

local function remember()
    for name, input in pairs(inputs) do
        local member = name .. '!' .. digits(input.epoch) .. ':' .. digits(input.base)
        if member ~= input.member then
            redis.call('ZREMRANGEBYLEX', forwards, '[' .. name .. ':',
                       '(' .. name .. ':' .. digits(input.base))
            if input.member then redis.call('ZREM', forwards, input.member) end
            outputs[#outputs + 1] = member
        end
    end
    for i = 1, #outputs, 500 do
        local add = {}
        for k = i, math.min(i + 499, #outputs) do
            add[#add + 1] = '0'
            add[#add + 1] = outputs[k]
        end
        redis.call('ZADD', forwards, unpack(add))
    end
end
