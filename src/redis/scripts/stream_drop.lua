#!lua flags=allow-oom
-- stream_drop: the end of a deletion: the partitions are gone, now the rest. Repeating it changes nothing.
--
-- KEYS  1 meta   2 groups   3.. group, leases, parts of each group
-- ARGV  1 incarnation
-- Returns {'OK'}
-- Keeps  another incarnation's keys are not touched.
if redis.call('HGET', KEYS[1], 'inc') == ARGV[1] then
    for i = 1, #KEYS, 1000 do
        redis.call('UNLINK', unpack(KEYS, i, math.min(i + 999, #KEYS)))
    end
end
return {'OK'}
