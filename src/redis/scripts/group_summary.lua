#!lua flags=no-writes
-- group_summary: how many members each of some groups of a stream has, and how many partitions they own, as of now.
-- Writes nothing.
--
-- KEYS  1 meta   2.. group, leases, parts of each
-- ARGV  1 incarnation
-- Returns {'OK', for each {the group's id, members, partitions owned, epoch}, or {} where there is no such group, or
--          'BROKEN' where what is there makes no sense}
--         {'NONE'} no such stream
local m = redis.call('HMGET', KEYS[1], 'inc', 'phase')
if m[1] ~= ARGV[1] or m[2] ~= 'ready' then return {'NONE'} end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function look(group, leases, parts)
    local g = redis.call('HMGET', group, 'gid', 'phase', 'clock', 'wall', 'epoch')
    if not g[1] or g[2] ~= 'ready' then return {} end
    local now = g[3] + math.max(0, wall - g[4])
    local live, members, owned = {}, 0, 0
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. string.format('%.0f', now), '+inf')) do
        if redis.call('HEXISTS', group, 'm:' .. name) == 1 then
            live[name] = true
            members = members + 1
        end
    end
    for _, part in ipairs(redis.call('HVALS', parts)) do
        if live[string.match(part, '^[^|]*')] then owned = owned + 1 end
    end
    return {g[1], members, owned, g[5]}
end

local answer = {'OK'}
for i = 2, #KEYS, 3 do
    local fine, row = pcall(look, KEYS[i], KEYS[i + 1], KEYS[i + 2])
    answer[#answer + 1] = fine and row or 'BROKEN'
end
return answer
