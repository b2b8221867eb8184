#!lua flags=no-writes
-- group_describe: who is in a group and what they own, as of now. Writes nothing.
--
-- KEYS  1 meta   2 group   3 leases   4 parts
-- Returns {'OK', the group's id, partitions, {member, host, session timeout, ms left of its lease ...},
--          {partition, owner, epoch ...}, epoch} or {'NONE', 'stream' | 'group'}
local m = redis.call('HMGET', KEYS[1], 'inc', 'phase', 'partitions')
if not m[1] or m[2] ~= 'ready' then return {'NONE', 'stream'} end
local g = redis.call('HMGET', KEYS[2], 'gid', 'phase', 'clock', 'wall', 'epoch')
if not g[1] or g[2] ~= 'ready' then return {'NONE', 'group'} end
local time = redis.call('TIME')
local wall = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = tonumber(g[3]) + math.max(0, wall - tonumber(g[4]))
local members, live = {}, {}
local leases = redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. string.format('%.0f', now), '+inf', 'WITHSCORES')
for i = 1, #leases, 2 do
    local name = leases[i]
    local text = redis.call('HGET', KEYS[2], 'm:' .. name)
    if text then
        live[name] = true
        local timeout, host = string.match(text, '^[^|]*|([^|]*)|[^|]*|(.*)$')
        for _, v in ipairs({name, host, timeout, string.format('%.0f', leases[i + 1] - now)}) do
            members[#members + 1] = v
        end
    end
end
local owners, parts = {}, redis.call('HGETALL', KEYS[4])
for i = 1, #parts, 2 do
    local owner, epoch = string.match(parts[i + 1], '^([^|]*)|([^|]*)|')
    owners[#owners + 1] = parts[i]
    owners[#owners + 1] = live[owner] and owner or ''
    owners[#owners + 1] = epoch
end
return {'OK', g[1], m[3], members, owners, g[5]}
