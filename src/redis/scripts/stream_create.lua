#!lua flags=allow-oom
-- stream_create: register a stream's settings, or say what is registered already. The caller makes the
-- partitions next (partition_create, in their own slots) and then calls stream_ready: a caller that
-- dies in between leaves the phase `creating`, which the next one with the same settings finishes.
--
-- KEYS  1 meta
-- ARGV  1 random hex digits for the incarnation, if it is new   2 partitions   3 messages kept for each partition
--       4 policy   5 "1": take an existing stream as it is
-- Returns {'CREATE' | 'READY', incarnation, partitions, messages, policy}
--         {'CONFLICT', phase, partitions, messages, policy} where these differ
--         {'DELETING'} where its deletion has begun
local meta = KEYS[1]
local inc, partitions, messages, policy = unpack(ARGV)
local m = redis.call('HMGET', meta, 'inc', 'phase', 'partitions', 'messages', 'policy')
if not m[1] then
    -- Incarnations sort by age, so that what an older one left behind can be told from a newer one's.
    local time = redis.call('TIME')
    local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
    inc = string.format('%012x', ms) .. string.sub(inc, 1, 20)
    redis.call('HSET', meta, 'inc', inc, 'phase', 'creating', 'partitions', partitions,
               'messages', messages, 'policy', policy, 'format', '1',
               'created', string.format('%.0f', ms))
    return {'CREATE', inc, partitions, messages, policy}
end
if m[2] == 'deleting' then return {'DELETING'} end
local same = m[3] == partitions and m[4] == messages and m[5] == policy
if not same and ARGV[5] ~= '1' then return {'CONFLICT', m[2], m[3], m[4], m[5]} end
return {m[2] == 'ready' and 'READY' or 'CREATE', m[1], m[3], m[4], m[5]}
