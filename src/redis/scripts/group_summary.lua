#!lua flags=no-writes
-- group_summary: how many members each of some groups of a stream has, and how many partitions they own, as of now.
-- Writes nothing.
--
-- KEYS  1 meta   2 groups   3.. group, leases, parts of each
-- ARGV  1 incarnation   2.. the name of each
-- Returns {'OK', for each {the group's id, members, partitions owned, epoch}, or {} where there is no such group, or
--          'BROKEN' where what is there makes no sense, or 'LOST' where it is listed and its hash is gone}
--         {'NONE'} no such stream
local m = redis.call('HMGET', KEYS[1], 'inc', 'phase')
if m[1] ~= ARGV[1] or m[2] ~= 'ready' then return {'NONE'} end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local listed
local function is_listed(name)
    if not listed then
        listed = {}
        for _, one in ipairs(redis.call('SMEMBERS', KEYS[2])) do listed[one] = true end
    end
    return listed[name]
end

local function look(name, group, leases, parts)
    local g = redis.call('HMGET', group, 'gid', 'phase', 'clock', 'wall', 'epoch')
    if not g[1] and is_listed(name) then return 'LOST' end
    if not g[1] or g[2] ~= 'ready' then return {} end
    for i = 3, 5 do
        local n = tonumber(g[i])
        if not n or not (math.abs(n) < 2 ^ 53) then return 'BROKEN' end
    end
    local now = g[3] + math.max(0, wall - g[4])
    local live, members, owned = {}, 0, 0
    for _, name in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. string.format('%.0f', now), '+inf')) do
        local text = redis.call('HGET', group, 'm:' .. name)
        if text and not string.match(text, '^[^|]*|%d+|%d+|') then return 'BROKEN' end
        if text then
            live[name] = true
            members = members + 1
        end
    end
    for _, part in ipairs(redis.call('HVALS', parts)) do
        local owner = string.match(part, '^([^|]*)|%d+|')
        if not owner then return 'BROKEN' end
        if live[owner] then owned = owned + 1 end
    end
    return {g[1], members, owned, g[5]}
end

local answer = {'OK'}
for i = 3, #KEYS, 3 do
    local fine, row = pcall(look, ARGV[(i + 3) / 3], KEYS[i], KEYS[i + 1], KEYS[i + 2])
    answer[#answer + 1] = fine and row or 'BROKEN'
end
return answer
